from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    profile_picture = models.FileField(upload_to="profile_pictures/", null=True, blank=True)
    bio = models.TextField(blank=True, default="")
    date_of_birth = models.DateField(null=True, blank=True)
    phone_number = models.CharField(max_length=15, blank=True, default="")
    location = models.CharField(max_length=100, blank=True, default="")
    latitude = models.FloatField(null=True, blank=True)
    longitude = models.FloatField(null=True, blank=True)
    is_online = models.BooleanField(default=False)
    last_activity = models.DateTimeField(null=True, blank=True)
    liked_users = models.ManyToManyField("self", symmetrical=False, related_name="liked_by", blank=True)
    blocked_users = models.ManyToManyField("self", symmetrical=False, related_name="blocked_by", blank=True)
