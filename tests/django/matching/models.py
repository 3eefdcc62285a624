from django.conf import settings
from django.db import models
from django.utils import timezone

USER = settings.AUTH_USER_MODEL


class UserPreference(models.Model):
    user = models.OneToOneField(USER, models.CASCADE)
    min_age = models.IntegerField(default=18)
    max_age = models.IntegerField(default=99)
    max_distance = models.IntegerField(default=50)
    gender_preference = models.CharField(max_length=1, default="A")


class UserInterest(models.Model):
    name = models.CharField(max_length=50, unique=True)


class UserInterestRelation(models.Model):
    user = models.ForeignKey(USER, models.CASCADE)
    interest = models.ForeignKey(UserInterest, models.CASCADE)

    class Meta:
        unique_together = [("user", "interest")]


class Match(models.Model):
    user1 = models.ForeignKey(USER, models.CASCADE, related_name="+")
    user2 = models.ForeignKey(USER, models.CASCADE, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    is_active = models.BooleanField(default=True)

    class Meta:
        unique_together = [("user1", "user2")]
