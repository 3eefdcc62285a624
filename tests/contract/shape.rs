//! The objects of the contract, as texts with their keys in order.

use crate::site::Person;

/// `UserMini`.
pub(crate) fn mini(person: &Person) -> String {
    format!(r#"{{"id":{},"username":"{}","profile_picture":null}}"#, person.id, person.name)
}

/// `Message`, whatever its id. `read` is whether a recipient has read it, `by_recipient` what this viewer is told.
pub(crate) fn message(conversation: i64, sender: &Person, content: &str, read: bool, by_recipient: bool) -> String {
    let sender = mini(sender);
    format!(
        r#"{{"id":<int>,"conversation":{conversation},"sender":{sender},"content":"{content}","created_at":"<time>","#
    ) + &format!(r#""is_read":{read},"attachment":null,"is_read_by_recipient":{by_recipient}}}"#)
}

/// `Conversation`, with its participants in either order.
pub(crate) fn conversation(of: [&Person; 2], active: bool, last: &str, unread: usize) -> [String; 2] {
    let shape = |one: &Person, other: &Person| {
        format!(
            r#"{{"id":<int>,"participants":[{},{}],"created_at":"<time>","updated_at":"<time>","is_active":{active},"#,
            mini(one),
            mini(other)
        ) + &format!(r#""last_message":{last},"unread_count":{unread}}}"#)
    };
    [shape(of[0], of[1]), shape(of[1], of[0])]
}

/// `UserFull` of somebody who told nothing, without its last brace.
fn untold(person: &Person, online: &str, active: &str, preferences: &str) -> String {
    format!(
        r#"{{"id":{},"username":"{}","email":"","first_name":"","last_name":"","profile_picture":null,"bio":"","#,
        person.id, person.name
    ) + &format!(
        r#""date_of_birth":null,"phone_number":"","location":"","is_online":{online},"last_activity":{active},"#
    ) + &format!(r#""interests":[],"preferences":{preferences}"#)
}

/// What somebody who told nothing sees of their own profile.
pub(crate) fn own(person: &Person) -> String {
    untold(person, "true", "\"<time>\"", DEFAULTS) + "}"
}

/// What a stranger sees of them.
pub(crate) fn strange(person: &Person) -> String {
    untold(person, "<bool>", "null", "null") + "}"
}

/// The preferences of a new user.
pub(crate) const DEFAULTS: &str = r#"{"min_age":18,"max_age":99,"max_distance":50,"gender_preference":"A"}"#;

/// What is told of somebody on a list of people.
pub(crate) fn match_user(person: &Person, online: &str, active: &str, age: &str, distance: &str) -> String {
    format!(
        r#"{{"id":{},"username":"{}","first_name":"","last_name":"","profile_picture":null,"bio":"","location":"","#,
        person.id, person.name
    ) + &format!(r#""is_online":{online},"last_activity":{active},"interests":[],"age":{age},"distance":{distance}}}"#)
}

/// `Match`, whatever its id.
pub(crate) fn matched(user: &str) -> String {
    format!(r#"{{"id":<int>,"created_at":"<time>","is_active":true,"matched_user":{user}}}"#)
}
