"""The sequence of every live topic: the truth that a socket's frames only point at."""

from django.db import models


class Topic(models.Model):
    name = models.CharField(max_length=300, primary_key=True)  # holds a prefix and an id of 200 characters
    sequence = models.BigIntegerField(default=0)
    changed_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
