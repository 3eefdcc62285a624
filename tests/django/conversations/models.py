from django.conf import settings
from django.db import models
from django.utils import timezone

USER = settings.AUTH_USER_MODEL


class Conversation(models.Model):
    participants = models.ManyToManyField(USER)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    is_active = models.BooleanField(default=True)


class Message(models.Model):
    conversation = models.ForeignKey(Conversation, models.CASCADE)
    sender = models.ForeignKey(USER, models.CASCADE)
    content = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)
    is_read = models.BooleanField(default=False)
    attachment = models.FileField(upload_to="message_attachments/", null=True, blank=True)


class MessageRead(models.Model):
    message = models.ForeignKey(Message, models.CASCADE)
    user = models.ForeignKey(USER, models.CASCADE)
    read_at = models.DateTimeField(default=timezone.now)

    class Meta:
        unique_together = [("message", "user")]
