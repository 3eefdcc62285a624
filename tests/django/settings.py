"""The service that is left behind, as far as its database and its tokens go."""

import os
from datetime import timedelta

SECRET_KEY = os.environ["DJANGO_SECRET_KEY"]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "fr-fr"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "rest_framework",
    "accounts",
    "matching",
    "conversations",
]
PASSWORD_HASHERS = [
    f"django.contrib.auth.hashers.{name}"
    for name in [
        "PBKDF2PasswordHasher",
        "PBKDF2SHA1PasswordHasher",
        "Argon2PasswordHasher",
        "BCryptSHA256PasswordHasher",
        "ScryptPasswordHasher",
    ]
]
SIMPLE_JWT = {"ACCESS_TOKEN_LIFETIME": timedelta(days=1), "REFRESH_TOKEN_LIFETIME": timedelta(days=7)}

# sqlite:PATH or postgres:HOST:PORT:USER:NAME
_engine, _rest = os.environ["DJANGO_DATABASE"].split(":", 1)
if _engine == "sqlite":
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": _rest}}
else:
    _host, _port, _user, _name = _rest.split(":")
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": _host,
            "PORT": _port,
            "USER": _user,
            "NAME": _name,
        }
    }
