use super::super::parts::Sender;
use super::*;
use crate::catalogue::Language;
use crate::config::Config;
use crate::limits::{Limits, Nodes};
use crate::media::Media;
use futures_util::{StreamExt, stream};
use hyper::body::Bytes;
use proptest::prelude::*;
use std::future::ready;
use std::net::Ipv4Addr;
use warp::http::header::CONTENT_TYPE;
use warp::http::{HeaderMap, StatusCode};

async fn body(media: &str, text: &[u8]) -> Result<Body, StatusCode> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, media.parse().expect("a header"));
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
    let media = Media::open(&config, &[]).expect("a folder");
    let text = stream::iter([Ok::<_, warp::Error>(Bytes::copy_from_slice(text))]).filter(|_| ready(!text.is_empty()));
    let limits = Limits::new(&config, &Nodes::default());
    let (actor, address) = (None, Ipv4Addr::LOCALHOST.into());
    let sender = Sender { config: &config, media: &media, limits: &limits, actor, address };
    let told = Body::take(sender, &headers, WRONG, text).await;
    told.map_err(|refusal| refusal.told_in(Language::French).status())
}

const URLENCODED: &str = "application/x-www-form-urlencoded";

const FIELDS: &[Field] = &[
    Field::text("a", 5).required(),
    Field::text("b", 5),
    Field::text("n", 5),
    Field::integer("count"),
    Field::boolean("yes"),
    Field::texts("items", 3),
];

#[tokio::test]
async fn json_forms_and_multipart_say_the_same() {
    let form = "a=+x%20y+&b=%C3%A9&c&=&a%3D=%zz&n=1&n=2&count=5.0&yes=on&items=p&items=q";
    let json = r#"{"a":" x y ","b":"\u00e9","n":2,"count":"5","yes":true,"items":["p","q"],"other":[1]}"#;
    let part = |(name, text): &(&str, &str)| {
        format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
    };
    let parts = [("a", " x y "), ("b", "é"), ("n", "2"), ("count", "5"), ("yes", "1"), ("items", "p"), ("items", "q")];
    let multipart = format!("{}--x--\r\n", parts.iter().map(part).collect::<String>());
    for (media, text) in [
        (URLENCODED, form),
        ("application/json; charset=utf-8", json),
        ("multipart/form-data; boundary=x", multipart.as_str()),
    ] {
        let mut told = Form::judge(FIELDS, &body(media, text.as_bytes()).await.expect(media));
        told.check().expect(media);
        assert_eq!(told.text("a").as_deref(), Some("x y"), "{media}");
        assert_eq!(told.text("b").as_deref(), Some("é"), "{media}");
        assert_eq!(told.text("n").as_deref(), Some("2"), "{media}");
        assert_eq!((told.integer("count"), told.boolean("yes")), (Some(5), Some(true)), "{media}");
        assert_eq!(told.texts("items"), Some(["p", "q"].map(Text::without_nul).to_vec()), "{media}");
    }
}

const WRONG: &[Field] = &[
    Field::text("none", 5).required(),
    Field::text("null", 5),
    Field::text("list", 5),
    Field::text("blank", 5),
    Field::text("nul", 5),
    Field::text("long", 5),
    Field::boolean("yes"),
    Field::integer("half"),
    Field::integer("truth"),
    Field::date("day"),
    Field::choice("letter", &["M", "F"]),
    Field::texts("single", 3),
    Field::texts("items", 3),
    Field::file("picture"),
];

#[tokio::test]
async fn each_mistake_has_its_text() {
    let text = concat!(
        r#"{"null":null,"list":[],"blank":"  ","nul":"a\u0000b","long":"sixsix","yes":2,"half":2.5,"truth":true,"#,
        r#""day":"1.1.2000","letter":"Z","single":"x","items":["p","","long"],"picture":"x"}"#
    );
    let told = Form::judge(WRONG, &body("application/json", text.as_bytes()).await.expect("JSON"));
    let expected = [
        r#"{"none":["Ce champ est obligatoire."],"null":["Ce champ ne peut être nul."],"#,
        r#""list":["Chaîne de caractère invalide."],"blank":["Ce champ ne peut être vide."],"#,
        r#""nul":["Le caractère nul n’est pas autorisé."],"#,
        "\"long\":[\"Assurez-vous que ce champ comporte au plus 5\u{a0}caractères.\"],",
        r#""yes":["Doit être un booléen valide."],"half":["Un nombre entier valide est requis."],"#,
        r#""truth":["Un nombre entier valide est requis."],"#,
        "\"day\":[\"La date n'a pas le bon format. Utilisez un des formats suivants\u{a0}: YYYY-MM-DD.\"],",
        "\"letter\":[\"«\u{a0}Z\u{a0}» n'est pas un choix valide.\"],",
        "\"single\":[\"Attendait une liste d'éléments mais a reçu «\u{a0}str\u{a0}».\"],",
        "\"items\":{\"1\":[\"Ce champ ne peut être vide.\"],",
        "\"2\":[\"Assurez-vous que ce champ comporte au plus 3\u{a0}caractères.\"]},",
        r#""picture":["La donnée soumise n'est pas un fichier. Vérifiez le type d'encodage du formulaire."]}"#,
    ];
    let told = serde_json::to_string(&told.errors.told_in(Language::French)).expect("plain");
    assert_eq!(told, expected.concat());
}

#[tokio::test]
async fn what_is_no_object_or_of_another_kind_is_refused() {
    for text in ["[]", "1", "\"a\"", "null", "{", "{\"a\":1e999}", "\u{feff}{}"] {
        assert_eq!(body("application/json", text.as_bytes()).await.err(), Some(StatusCode::BAD_REQUEST), "{text}");
    }
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    assert_eq!(body("application/json", deep.as_bytes()).await.err(), Some(StatusCode::BAD_REQUEST));
    assert_eq!(body("text/plain", b"a=b").await.err(), Some(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    assert!(body("text/plain", b"").await.is_ok());
    assert_eq!(body("multipart/form-data", b"x").await.err(), Some(StatusCode::BAD_REQUEST));
}

proptest! {
    #[test]
    fn no_body_breaks_it(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            for media in ["application/json", URLENCODED, "multipart/form-data; boundary=x"] {
                if let Ok(told) = body(media, &text).await {
                    Form::judge(WRONG, &told);
                }
            }
        });
    }
}
