# What is said to people, in English. fr.ftl has the same sentences in the same order.
# Where the Django API says the same, these are its words.

## A field

required = This field is required.
null = This field may not be null.
blank = This field may not be blank.
at-most = Ensure this field has no more than { $max } { $unit }.
at-least = Ensure this value is greater than or equal to { $min }.
from-to = From { $min } to { $max }.
one-at-least = At least one.
twice = Somebody is named twice.
no-text = Not a valid string.
no-integer = A valid integer is required.
no-number = A valid number is required.
no-boolean = Must be a valid boolean.
no-date = Date has wrong format. Use one of these formats instead: YYYY-MM-DD.
no-choice = "{ $told }" is not a valid choice.
no-list = Expected a list of items but got type "{ $kind }".
no-file = The submitted data was not a file. Check the encoding type on the form.
empty-file = The submitted file is empty.
no-picture = Upload a valid image. The file you uploaded was either not an image or a corrupted image.
file-stays = A file comes with a new message, and stays with it.
no-key = Invalid pk "{ $key }" - object does not exist.
no-object = Invalid data. Expected a dictionary, but got { $kind }.
no-email = Enter a valid email address.
no-birth-date = Not a possible birth date, YYYY-MM-DD.
no-place = No such point on Earth.
nul = Null characters are not allowed.
control-characters = Control characters are not allowed.
combining-marks = At most { $max } combining marks in a row.
say-something = Say something.
leave-out = Leave it out, or say something.
say-why = Say why, in a word.
one-emoji = One emoji.
one-word = Name at least one word.
interest-empty = An interest is not empty.
age-order = From age_min to { $max }.

## A frame or a request

object-expected = An object is expected.
frame-shape = A frame is {"{"}"id":1,"type":"subject.verb","data":{"{"}...{"}"}{"}"}.
frame-fault = A frame is {"{"}"id":1,"type":"subject.verb","data":{"{"}...{"}"}{"}"}: { $why }.
frame-no-json = The frame is not JSON: { $why }.
data-fault = { $why }.
no-command = No command has this type.
json-fault = JSON parse error - { $why }
multipart-fault = Multipart form parse error - { $why }
too-many-parts = At most { $max } parts.
body-broken = The body is incomplete.
body-late = The body did not come in time.
body-too-large = The body is larger than { $max } bytes.
method-not-allowed = Method "{ $method }" not allowed.
unsupported-media = Unsupported media type "{ $media }" in request.
not-acceptable = Could not satisfy the request Accept header.
not-found = Not found.
no-match = No { $model } matches the given query.
invalid-page = Invalid page.

## Who it is

not-provided = Authentication credentials were not provided.
bad-header = Authorization header must contain two space-delimited values
bad-token = Given token not valid for any token type
token-invalid = Token is invalid
token-expired = Token is expired
token-wrong-type = Token has wrong type
token-ended = Token is blacklisted
token-nobody = Token contained no recognizable user identification
user-gone = User not found
user-disabled = User is inactive
no-account = No active account found with the given credentials
no-account-for-token = No active account found for the given token.
say-who = Say who you are first, with auth.
said-who = This socket has said who it is.
own-socket = This belongs on a socket of its own session.
one-token = Give one of token and refresh.
other-session = The token is of another session.
logged-out = Successfully logged out
status-updated = Online status updated
wrong-password = This is not your password.

## Names and passwords

name-taken = A user with that username already exists.
name-needed = A user name is needed.
name-characters = Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters.
name-reserved = This name is reserved.
password-common = This password is too common.
password-short = This password is too short. It must contain at least { $min } characters.
passwords-differ = The passwords do not match.
new-passwords-differ = The new passwords do not match.
old-password-wrong = The current password is incorrect.
password-changed = Password changed successfully

## What may not be done

no-such = { $what ->
    [user] No such user.
    [conversation] No such conversation.
    [message] No such message.
    [match] No such match.
    [member] No such member.
    [session] No such session.
    [file] No such file.
   *[other] No such { $what }.
}
forbidden = You do not have permission to perform this action.
this-is-you = This is you.
no-such-person = The specified user does not exist.
not-yourself = You cannot like yourself.
not-with-yourself = You cannot create a conversation with yourself.
liked = Like recorded successfully
unliked = Like removed successfully
blocked = User blocked successfully
unblocked = User unblocked successfully
conversation-left = Conversation deleted successfully
marked-read = Message marked as read
talk-with-yourself = You cannot talk with yourself.
matches-only = Here only matches can talk.
you-blocked = You have blocked this user. Unblock first.
blocks-full = At most { $max } blocked users.
never-matched = You never had this match.
no-such-evidence = You see no such message of this user.
key-reused = This client_key was used with other content.
no-such-reply = There is no such message in this conversation.
only-author = Only its author may change a message.
only-author-or-admin = Only its author or an admin of the group may delete a message for all.
group-events-stay = What happened to the group cannot be deleted.
no-such-number = There is no such number in this conversation yet.
no-such-personal-number = There is no such number in your personal stream.
page-position = Give the `next` of the page before, unchanged.
before-or-after = Say before or after, not both.
emojis-full = At most { $max } different emojis.
title-needed = A group needs a title.
group-full = A group has at most { $max } members.
leave-instead = Leave with conversation.leave.
role-too-low = Your role in this group does not allow it.
last-owner = A group keeps at least one owner. Make somebody else an owner first.
direct-has-none = A direct conversation has no title, roles or other members.
birth-date-needed = Add your date of birth to your profile: without it you see nobody here, and nobody sees you.
too-young = Only people of at least { $years } years see others here.

## Pictures and files

picture-expected = This is no picture. Send a JPEG, PNG, GIF or WebP.
picture-broken = This picture is broken or incomplete. Save it anew, or send another one.
picture-large = This picture is too large. At most { $side } pixels on each side, and { $millions } million in all.
animation-frames = This animation is too long. At most { $max } frames.
animation-long = This animation is too large. At most { $millions } million pixels, of all its frames together.
file-heavy = At most { $max } bytes.
files-full = At most { $max } files. Delete messages or pictures that have some.
bytes-full = Your files may have { $max } bytes in all. Delete messages or pictures that have some.
uploads-full = At most { $max } uploads at once. Wait for one of them.
pictures-only = Only pictures can be shown in a profile.
named-twice = A file is named twice.

## The server

throttled = Request was throttled. Expected available in { $seconds ->
    [one] { $seconds } second.
   *[other] { $seconds } seconds.
}
too-fast = Too fast. Wait and try again.
busy = The server is busy. Try again in a moment.
overtaken = Others are changing the same at this moment. Try again.
unknown-outcome = The outcome is not known. Send it again with the same client_key.
query-too-long = The query took too long. Ask for less.
disk-full = The server cannot write now: its disk is full. Nothing was changed.
internal = A fault of the server; its log has it as { $incident }.
