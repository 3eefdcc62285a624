"""Makes the database of the service and fills it: `fill.py USERS MESSAGES`. Prints what a test must know, as JSON.

Most of it is drawn by chance from a fixed seed. The first users and conversations are those that the tests know by
name; what is odd about each stands beside it.
"""

import json
import os
import random
import sys
from datetime import date, datetime, timedelta, timezone

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")

import django

django.setup()

from django.contrib.auth import hashers
from django.core.management import call_command
from rest_framework_simplejwt.tokens import RefreshToken

from accounts.models import User
from conversations.models import Conversation, Message, MessageRead
from matching.models import Match, UserInterest, UserInterestRelation, UserPreference

PASSWORD = "correct horse battery staple"
SALT = "saltsaltsaltsaltsaltsa"
START = datetime(2025, 5, 6, 12, tzinfo=timezone.utc)
random.seed(20250506)

call_command("makemigrations", "accounts", "matching", "conversations", verbosity=0)
call_command("migrate", verbosity=0)


def moment():
    """Some time of the service's months; now and then one without a fraction, which Django writes in another form."""
    at = START + timedelta(seconds=random.randrange(10_000_000))
    return at if random.random() < 0.1 else at + timedelta(microseconds=random.randrange(1_000_000))


class CheapArgon2(hashers.Argon2PasswordHasher):
    memory_cost = 1024


cheap = hashers.PBKDF2PasswordHasher().encode(PASSWORD, SALT, 1000)
FORMS = {
    "pbkdf2_sha256": hashers.make_password(PASSWORD),
    "pbkdf2_sha1": hashers.PBKDF2SHA1PasswordHasher().encode(PASSWORD, SALT, 2000),
    "argon2": hashers.make_password(PASSWORD, hasher="argon2"),
    "argon2_cheap": CheapArgon2().encode(PASSWORD, SALT),
    "bcrypt_sha256": hashers.BCryptSHA256PasswordHasher().encode(PASSWORD, b"$2b$06$abcdefghijklmnopqrstuu"),
    "scrypt": hashers.make_password(PASSWORD, hasher="scrypt"),
}


def user(username, password=cheap, **more):
    more.setdefault("date_joined", moment())
    return User(username=username, password=password, **more)


def birth():
    return date(1960, 1, 1) + timedelta(days=random.randrange(16_000))


# Known by name. Their ids are 1, 2, ... in this order.
known = [
    user("ann", FORMS["pbkdf2_sha256"], email="Ann@Example.org", first_name="Ann", last_name="Été", bio="Hi\nthere",
         date_of_birth=date(1990, 2, 3), phone_number="+33 1 23", location="Paris", latitude=48.8566, longitude=2.3522,
         profile_picture="profile_pictures/ann.jpg", date_joined=START, last_activity=START + timedelta(days=100)),
    user("bob", email="Ann@Example.org", latitude=51.5, longitude=0.0),
    user("eve", latitude=95.0, longitude=10.0, date_of_birth=date(2999, 1, 1)),
    user("off", is_active=False),
    user("unusable", hashers.make_password(None)),
    user("empty", ""),
    user("strange", "md5$salt$0cc175b9c0f1b6a831c399e269772661"),
    user("Zoe"), user("zoe"), user("ZOE"), user("zOE"),
    user("admin", is_superuser=True, is_staff=True),
    user("p\u0430ypal"), user("иван_77"), user("山田太郎"),
    user("zero\0bytes" if os.environ["DJANGO_DATABASE"].startswith("sqlite") else "zerobytes"),
]
known += [user(form, password) for form, password in FORMS.items()]
count = max(int(sys.argv[1]), len(known))
rest = [
    user(
        f"user{number}",
        email="same@example.org" if number % 50 == 0 else f"user{number}@example.org",
        is_active=number % 40 != 0,
        date_of_birth=None if number % 7 == 0 else birth(),
        bio="é" * 3000 if number % 100 == 0 else "",
        latitude=None if number % 5 == 0 else random.uniform(-60, 60),
        longitude=random.uniform(-180, 180),
        last_activity=moment() if number % 3 == 0 else None,
        profile_picture=f"profile_pictures/{number}.png" if number % 20 == 0 else None,
    )
    for number in range(len(known) + 1, count + 1)
]
User.objects.bulk_create(known + rest, batch_size=500)
users = list(User.objects.order_by("id"))
ids = [one.id for one in users]
name = {one.username: one for one in users}

UserPreference.objects.bulk_create(
    [
        UserPreference(
            user=one,
            min_age=random.randrange(18, 40),
            max_age=random.randrange(40, 100),
            max_distance=random.randrange(1, 500),
            gender_preference=random.choice("AMFO"),
        )
        for one in users
        # The superuser never had any.
        if one.username not in ("admin", "bob")
    ]
    + [UserPreference(user=name["bob"], min_age=0, max_age=0, max_distance=-1, gender_preference="F")],
    batch_size=500,
)
interests = [UserInterest(name=f"interest {number}") for number in range(100)] + [UserInterest(name="thé & café")]
UserInterest.objects.bulk_create(interests)
interests = list(UserInterest.objects.order_by("id"))
relations = {(random.choice(ids), random.choice(interests).id) for _ in range(count * 2)}
relations |= {(name["ann"].id, interests[-1].id), (name["ann"].id, interests[0].id)}
UserInterestRelation.objects.bulk_create(
    [UserInterestRelation(user_id=one, interest_id=what) for one, what in sorted(relations)], batch_size=500
)

# Likes, blocks, matches: those by chance agree with each other, as the service leaves them.
others = ids[len(known):] or ids
likes = {(random.choice(others), random.choice(others)) for _ in range(count * 3)}
likes |= {(to, one) for one, to in random.sample(sorted(likes), len(likes) // 4)}
likes = {(one, to) for one, to in likes if one != to}
blocks = {(random.choice(others), random.choice(others)) for _ in range(count // 10)}
blocks = {(one, to) for one, to in blocks if one != to}
likes -= {(one, to) for one, to in likes if {(one, to), (to, one)} & blocks}
matches = {(one, to): True for one, to in sorted(likes) if one < to and (to, one) in likes}
for one, to in [pair for pair in matches if random.random() < 0.1]:
    likes.discard((one, to))
    matches[(one, to)] = False
A, B, E, OFF = (name[one].id for one in ("ann", "bob", "eve", "off"))
ZOE, ZOE2 = name["Zoe"].id, name["zoe"].id
# Ann and Bob are matched. Eve likes Ann, and blocks Bob though they like and match each other all the same.
likes |= {(A, B), (B, A), (E, A), (E, B), (B, E)}
matches[(A, B)] = matches[(B, E)] = True
blocks.add((E, B))
# A match without likes, likes without a match, an ended match with both likes, and somebody who likes themselves.
matches[(ZOE, ZOE2)] = True
likes |= {(A, ZOE), (ZOE, A), (A, ZOE2), (ZOE2, A), (OFF, OFF)}
matches[(A, ZOE2)] = False
User.liked_users.through.objects.bulk_create(
    [User.liked_users.through(from_user_id=one, to_user_id=to) for one, to in sorted(likes)], batch_size=500
)
User.blocked_users.through.objects.bulk_create(
    [User.blocked_users.through(from_user_id=one, to_user_id=to) for one, to in sorted(blocks)], batch_size=500
)
# A hundred matches came and went, so that ids do not begin at 1.
Match.objects.bulk_create(
    [Match(id=100 + at, user1_id=one, user2_id=to, created_at=moment(), is_active=active)
     for at, ((one, to), active) in enumerate(matches.items())],
    batch_size=500,
)

# Conversations: first those that the tests know, by their place.
groups = [
    [A, B], [B, A], [A, E], [A, B, E], [A], [], [], [E, B],
]
groups += [sorted(random.sample(others, 2)) for _ in range(count // 3)]
talks = [
    Conversation(created_at=START, updated_at=START + timedelta(hours=at), is_active=at not in (2, 20, 21))
    for at in range(len(groups))
]
Conversation.objects.bulk_create(talks, batch_size=500)
talks = list(Conversation.objects.order_by("id"))
through = Conversation.participants.through
through.objects.bulk_create(
    [through(conversation_id=talk.id, user_id=one) for talk, group in zip(talks, groups) for one in group],
    batch_size=500,
)


def message(place, sender, content, minute, **more):
    return Message(conversation=talks[place], sender_id=sender, content=content,
                   created_at=START + timedelta(minutes=minute), **more)


messages = [
    # The second was written before the first, and two at the same instant stand by their ids.
    message(1, A, "second", 2), message(1, B, "first", 1), message(1, A, "third", 3), message(1, B, "fourth", 3),
    message(1, B, "Crème brûlée", 4, attachment="message_attachments/menu.pdf"), message(1, B, "sixth", 5),
    message(0, A, "in the older one of the two", 1),
    message(2, E, "before leaving", 1), message(3, E, "to two", 1), message(4, A, "alone", 1),
    message(5, A, "to nobody", 1), message(7, A, "from outside", 1), message(2, E, "x" * 5000, 2),
]
words = "the quick brown fox jumps over lazy dogs while été brûlée größe meets again tonight maybe".split()
wanted = max(int(sys.argv[2]) - len(messages), 0)
for at in range(wanted):
    place = 8 + at % (len(talks) - 8)
    sender = random.choice(groups[place])
    messages.append(Message(conversation=talks[place], sender_id=sender,
                            content=" ".join(random.choices(words, k=random.randrange(3, 16))),
                            created_at=moment(),
                            attachment=f"message_attachments/{at}.jpg" if at % 50 == 0 else None))
Message.objects.bulk_create(messages, batch_size=1000)
messages = list(Message.objects.order_by("id"))
reads = [
    MessageRead(message_id=one.id, user_id=reader)
    for one in messages[13:]
    for reader in groups[one.conversation_id - talks[0].id]
    if reader != one.sender_id and random.random() < 0.9
]
# Ann has read Bob's first and his sixth message, but not his fourth: she has read up to her own third.
reads += [MessageRead(message=messages[at], user_id=A) for at in (1, 5)]
reads += [MessageRead(message=messages[at], user_id=B) for at in (0, 2)]
MessageRead.objects.bulk_create(reads, batch_size=1000)

# The last of each is gone again: its id must not be given to another.
gone = {
    "user": User.objects.create(username="gone"),
    "conversation": Conversation.objects.create(),
    "match": Match.objects.create(user1_id=OFF, user2_id=name["empty"].id),
    "interest": UserInterest.objects.create(name="gone"),
}
gone["message"] = Message.objects.create(conversation=gone["conversation"], sender=gone["user"], content="gone")
last = {what: one.id for what, one in gone.items()}
for one in gone.values():
    type(one).objects.filter(pk=one.pk).delete()


def tokens(username):
    refresh = RefreshToken.for_user(name[username])
    return {"access": str(refresh.access_token), "refresh": str(refresh)}


expired = RefreshToken.for_user(name["ann"]).access_token
expired.set_exp(lifetime=-timedelta(days=1))
models = [User, User.liked_users.through, User.blocked_users.through, UserPreference, UserInterest,
          UserInterestRelation, Match, Conversation, through, Message, MessageRead]
print(json.dumps({
    "password": PASSWORD,
    "users": {one.username: one.id for one in users[:len(known)]},
    "conversations": [talk.id for talk in talks[:8]],
    "messages": [one.id for one in messages[:13]],
    "match": Match.objects.get(user1_id=A, user2_id=B).id,
    "last": last,
    "counts": {model._meta.db_table: model.objects.count() for model in models},
    "tokens": {username: tokens(username) for username in ("ann", "bob", "eve", "off", "Zoe", "zoe", "scrypt")},
    "expired": str(expired),
}))
