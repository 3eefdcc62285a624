//! Every statement of the store, found in its sources: nobody can forget to name one. String literals, `concat!` and the
//! macros of the store are put together as the compiler does it.

use std::collections::HashMap;
use std::path::Path;

use duet::store::registry::{Fate, Rows, TABLES, Table};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Files whose statements are not for a server with users, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("copy.rs", "copies whole tables, while no server runs"),
    ("django.rs", "reads the database of another service, while no server runs"),
    ("imported.rs", "is run page by page by the import, while no server runs"),
];

/// A statement and the file where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Statement {
    /// Below `src/store`.
    pub(crate) file: String,
    /// As the database gets it.
    pub(crate) sql: String,
    /// Which database it is for, where there are two of it.
    pub(crate) only: Option<Database>,
}

/// Of two statements in a list the first is for SQLite and the second for Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

/// A text, and which database it is for.
type Found = (String, Option<Database>);

fn tagged(texts: Vec<String>) -> Vec<Found> {
    match <[String; 2]>::try_from(texts) {
        Ok([first, second]) => vec![(first, Some(Database::Sqlite)), (second, Some(Database::Postgres))],
        Err(texts) => texts.into_iter().map(|text| (text, None)).collect(),
    }
}

/// All statements of the store, for either database.
pub(crate) fn all() -> Vec<Statement> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut files: Vec<(String, Vec<TokenTree>)> = Vec::new();
    read(&root, &root, &mut files);
    let mut macros = Macros::default();
    for (file, tokens) in &files {
        macros.collect(file, tokens);
    }
    let mut found = Vec::new();
    for (file, tokens) in files.iter().filter(|(file, _)| LEFT_OUT.iter().all(|(left_out, _)| file != left_out)) {
        let mut texts = Vec::new();
        macros.scan(file, tokens, &mut texts);
        for (sql, only) in texts.iter().filter(|(sql, _)| is_statement(sql)) {
            found.extend(of_each_table(sql).into_iter().map(|sql| Statement { file: file.clone(), sql, only: *only }));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// A statement that the end of an account makes for each table of the registry; any other as it is.
fn of_each_table(sql: &str) -> Vec<String> {
    if !sql.contains("{table}") {
        let of = |table: &&Table| sql.contains(&format!("UPDATE {} SET {{}}", table.name));
        return vec![TABLES.iter().find(of).map_or(sql.to_owned(), |table| sql.replace("{}", &emptied(table)))];
    }
    let made = TABLES.iter().filter_map(|table| {
        let (owner, key) = match table.rows {
            Rows::Deleted { owner, key } => (owner, Some(key)),
            Rows::Emptied(owner) => (owner, None),
            Rows::ByHand | Rows::Nobodys => return None,
        };
        let fits = sql.contains("{key}") == key.is_some();
        let sql = sql.replace("{table}", table.name).replace("{owner}", owner).replace("{}", &emptied(table));
        fits.then(|| sql.replace("{key}", key.unwrap_or_default()))
    });
    made.collect()
}

/// How a row of a table is emptied.
fn emptied(table: &Table) -> String {
    let set = table.columns.iter().filter_map(|(column, fate)| match fate {
        Fate::Emptied(value) => Some(format!("{column} = {value}")),
        Fate::Kept | Fate::Deleted => None,
    });
    set.collect::<Vec<_>>().join(", ")
}

fn is_statement(text: &str) -> bool {
    ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "].iter().any(|verb| text.trim_start().starts_with(verb))
}

fn read(root: &Path, folder: &Path, files: &mut Vec<(String, Vec<TokenTree>)>) {
    for entry in std::fs::read_dir(folder).expect("the sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            read(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source");
            let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let name = path.strip_prefix(root).expect("below the root").display().to_string();
            files.push((name, tokens.into_iter().collect()));
        }
    }
}

/// One arm of a macro: what it takes and what it makes of it.
#[derive(Debug, Clone)]
struct Arm {
    takes: Vec<TokenTree>,
    makes: Vec<TokenTree>,
}

/// The macros of the store by file and name.
#[derive(Debug, Default)]
struct Macros(HashMap<String, Vec<(String, Vec<Arm>)>>);

type Bound = HashMap<String, Vec<Vec<TokenTree>>>;

impl Macros {
    fn collect(&mut self, file: &str, tokens: &[TokenTree]) {
        for (at, token) in tokens.iter().enumerate() {
            let TokenTree::Group(group) = token else { continue };
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            match at.checked_sub(3).map(|from| &tokens[from..at]) {
                Some([first, TokenTree::Punct(_), TokenTree::Ident(name)]) if is_ident(first, "macro_rules") => {
                    let arms = split(&inner, ';').into_iter().filter_map(|arm| match arm.as_slice() {
                        [TokenTree::Group(takes), _, _, TokenTree::Group(makes)] => Some(Arm {
                            takes: takes.stream().into_iter().collect(),
                            makes: makes.stream().into_iter().collect(),
                        }),
                        _ => None,
                    });
                    self.0.entry(name.to_string()).or_default().push((file.to_owned(), arms.collect()));
                }
                _ => self.collect(file, &inner),
            }
        }
    }

    /// Puts together all texts that stand in some tokens, outside of the definitions of macros.
    fn scan(&self, file: &str, tokens: &[TokenTree], texts: &mut Vec<Found>) {
        let mut at = 0;
        while at < tokens.len() {
            if is_ident(&tokens[at], "macro_rules") {
                at += 4;
                continue;
            }
            if let Some((made, next)) = self.call(file, tokens, at) {
                texts.extend(tagged(made));
                at = next;
                continue;
            }
            match &tokens[at] {
                TokenTree::Literal(literal) => texts.extend(text_of(&literal.to_string()).map(|text| (text, None))),
                TokenTree::Group(group) => match self.value(file, &tokens[at..=at]) {
                    Some(made) if group.delimiter() == Delimiter::Bracket => texts.extend(tagged(made)),
                    _ => self.scan(file, &group.stream().into_iter().collect::<Vec<_>>(), texts),
                },
                _ => {}
            }
            at += 1;
        }
    }

    /// What the call of a macro at a place makes, if it makes texts, and where it ends.
    fn call(&self, file: &str, tokens: &[TokenTree], at: usize) -> Option<(Vec<String>, usize)> {
        let (TokenTree::Ident(name), Some(TokenTree::Punct(bang)), Some(TokenTree::Group(group))) =
            (&tokens[at], tokens.get(at + 1), tokens.get(at + 2))
        else {
            return None;
        };
        if bang.as_char() != '!' {
            return None;
        }
        let arguments = split(&group.stream().into_iter().collect::<Vec<_>>(), ',');
        let made = match name.to_string().as_str() {
            "concat" => vec![arguments.iter().map(|one| self.one(file, one)).collect::<Option<String>>()?],
            name => self.expanded(file, name, &arguments)?,
        };
        // One of several may be picked: `over_rows!(..)[0]`.
        if let Some(TokenTree::Group(index)) = tokens.get(at + 3)
            && index.delimiter() == Delimiter::Bracket
            && let Ok(index) = index.stream().to_string().parse::<usize>()
        {
            return Some((vec![made.get(index)?.clone()], at + 4));
        }
        Some((made, at + 3))
    }

    fn expanded(&self, file: &str, name: &str, arguments: &[Vec<TokenTree>]) -> Option<Vec<String>> {
        let known = self.0.get(name)?;
        let (_, arms) = known.iter().find(|(of, _)| of == file).or_else(|| known.first())?;
        let (arm, bound) = arms.iter().find_map(|arm| Some((arm, bind(&arm.takes, arguments)?)))?;
        self.value(file, &substitute(&arm.makes, &bound))
    }

    fn one(&self, file: &str, tokens: &[TokenTree]) -> Option<String> {
        match self.value(file, tokens)?.as_slice() {
            [one] => Some(one.clone()),
            _ => None,
        }
    }

    /// The texts that an expression is: a literal, a list, or what a macro makes.
    fn value(&self, file: &str, tokens: &[TokenTree]) -> Option<Vec<String>> {
        match tokens {
            [TokenTree::Literal(literal)] => Some(vec![text_of(&literal.to_string())?]),
            [TokenTree::Group(list)] if list.delimiter() == Delimiter::Bracket => {
                split(&list.stream().into_iter().collect::<Vec<_>>(), ',')
                    .iter()
                    .map(|item| self.one(file, item))
                    .collect()
            }
            [TokenTree::Group(inner)] => self.value(file, &inner.stream().into_iter().collect::<Vec<_>>()),
            _ => {
                // A path before the name says only where the macro is.
                let at =
                    tokens.iter().position(|token| matches!(token, TokenTree::Punct(it) if it.as_char() == '!'))?;
                let (made, end) = self.call(file, tokens, at.checked_sub(1)?)?;
                (end == tokens.len()).then_some(made)
            }
        }
    }
}

fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

fn is_punct(token: Option<&TokenTree>, sign: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

fn split(tokens: &[TokenTree], at: char) -> Vec<Vec<TokenTree>> {
    let parts = tokens.split(|token| is_punct(Some(token), at));
    parts.map(<[TokenTree]>::to_vec).filter(|part| !part.is_empty()).collect()
}

/// Arguments by the names that a macro has for them; none where they do not fit. Names are `$a:literal` and the like,
/// or `$($a:literal),+` for all that follow.
fn bind(takes: &[TokenTree], arguments: &[Vec<TokenTree>]) -> Option<Bound> {
    let (mut bound, mut left) = (Bound::new(), arguments);
    let mut tokens = takes.iter();
    while let Some(token) = tokens.next() {
        if !is_punct(Some(token), '$') {
            continue;
        }
        match tokens.next()? {
            TokenTree::Ident(name) => {
                let (first, rest) = left.split_first()?;
                bound.insert(name.to_string(), vec![first.clone()]);
                left = rest;
                // The kind of what it takes.
                tokens.nth(1)?;
            }
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                if let Some(TokenTree::Ident(name)) = inner.get(1) {
                    bound.insert(name.to_string(), left.to_vec());
                    left = &[];
                }
            }
            _ => return None,
        }
    }
    left.is_empty().then_some(bound)
}

fn substitute(makes: &[TokenTree], bound: &Bound) -> Vec<TokenTree> {
    let mut made: Vec<TokenTree> = Vec::new();
    let mut at = 0;
    while at < makes.len() {
        let (dollar, next) = (is_punct(makes.get(at), '$'), makes.get(at + 1));
        match (dollar, next) {
            (true, Some(TokenTree::Ident(name))) if bound.contains_key(&name.to_string()) => {
                made.extend(bound[&name.to_string()].iter().flatten().cloned());
                at += 2;
            }
            (true, Some(TokenTree::Group(group))) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let name = inner.get(1).map(ToString::to_string).unwrap_or_default();
                let all = bound.get(&name).cloned().unwrap_or_default();
                let comma = TokenTree::Punct(proc_macro2::Punct::new(',', proc_macro2::Spacing::Alone));
                made.extend(all.into_iter().flat_map(|one| one.into_iter().chain([comma.clone()])));
                // The group, the comma between and the sign that says how many.
                at += 4;
            }
            (true, _) => at += 1,
            (false, _) => {
                made.push(match &makes[at] {
                    TokenTree::Group(group) => {
                        let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                        let stream = substitute(&inner, bound).into_iter().collect();
                        TokenTree::Group(proc_macro2::Group::new(group.delimiter(), stream))
                    }
                    other => other.clone(),
                });
                at += 1;
            }
        }
    }
    made
}

/// The text of a string literal.
fn text_of(literal: &str) -> Option<String> {
    let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    let (mut text, mut signs) = (String::new(), inner.chars().peekable());
    while let Some(sign) = signs.next() {
        match (sign, signs.peek()) {
            ('\\', Some('\n')) => while signs.next_if(|sign| sign.is_whitespace()).is_some() {},
            ('\\', Some('n')) => text.extend(signs.next().map(|_| '\n')),
            ('\\', _) => text.extend(signs.next()),
            _ => text.push(sign),
        }
    }
    Some(text)
}
