//! The grammar of label selectors in requests.
//!
//! ```text
//! selector    = [ requirement { "," requirement } ]
//! requirement = [ "!" ] key | key ( "=" | "==" | "!=" | ">" | "<" ) [ value ] | key ( "in" | "notin" ) values
//! values      = "(" [ value ] { "," [ value ] } ")"
//! ```
//! `in` and `notin` are words like any other where no operator can stand.

use super::{Operator, ParseSelectorError, Requirement, syntax};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Identifier,
    End,
    Close,
    Open,
    Comma,
    Not,
    Operator(Operator),
    /// Special characters that make no token; the lexer never leaves one with today's tokens.
    Error,
}

struct Item<'a> {
    token: Token,
    text: &'a str,
}

/// The requirements in `text`, in the order written.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, ParseSelectorError> {
    let mut parser = Parser { items: scan(text), position: 0 };
    let mut requirements = Vec::new();
    loop {
        match parser.peek().token {
            Token::Identifier | Token::Not => {}
            Token::End => return Ok(requirements),
            _ => return Err(found(parser.peek().text, "!, identifier, or 'end of string'")),
        }
        let requirement = parser
            .requirement()
            .map_err(|error| ParseSelectorError::new(format!("unable to parse requirement: {error}")))?;
        requirements.push(requirement);
        let next = parser.next();
        match next.token {
            Token::End => return Ok(requirements),
            Token::Comma if matches!(parser.peek().token, Token::Identifier | Token::Not) => {}
            Token::Comma => return Err(found(parser.peek().text, "identifier after ','")),
            _ => return Err(found(next.text, "',' or 'end of string'")),
        }
    }
}

/// Refuses keys, values and numbers of values that no label can meet.
pub(super) fn check_requirement(
    key: &str,
    operator: Operator,
    values: &[String],
) -> Result<(), ParseSelectorError> {
    let mut errors = Vec::new();
    let reasons = syntax::qualified_name(key);
    if !reasons.is_empty() {
        errors.push(format!("key: Invalid value: {key:?}: {}", reasons.join("; ")));
    }
    let mut wrong_count = |why: &str| errors.push(format!("values: Invalid value: {values:?}: {why}"));
    match operator {
        Operator::In | Operator::NotIn => {
            if values.is_empty() {
                wrong_count("for 'in', 'notin' operators, values set can't be empty");
            }
        }
        Operator::Equals | Operator::DoubleEquals | Operator::NotEquals => {
            if values.len() != 1 {
                wrong_count("exact-match compatibility requires one single value");
            }
        }
        Operator::Exists | Operator::DoesNotExist => {
            if !values.is_empty() {
                wrong_count("values set must be empty for exists and does not exist");
            }
        }
        Operator::GreaterThan | Operator::LessThan => {
            if values.len() != 1 {
                wrong_count("for 'Gt', 'Lt' operators, exactly one value is required");
            }
            for (i, value) in values.iter().enumerate().filter(|(_, value)| value.parse::<i64>().is_err()) {
                errors.push(format!(
                    "values[{i}]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
                ));
            }
        }
    }
    for (i, value) in values.iter().enumerate() {
        let reasons = syntax::label_value(value);
        if !reasons.is_empty() {
            errors.push(format!("values[{i}][{key}]: Invalid value: {value:?}: {}", reasons.join("; ")));
        }
    }
    match errors.len() {
        0 => Ok(()),
        1 => Err(ParseSelectorError::new(errors.remove(0))),
        _ => Err(ParseSelectorError::new(format!("[{}]", errors.join(", ")))),
    }
}

fn found(text: &str, expected: &str) -> ParseSelectorError {
    ParseSelectorError::new(format!("found '{text}', expected: {expected}"))
}

fn scan(text: &str) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let item = if rest.starts_with(is_special) { special(rest) } else { word(rest) };
        rest = rest[item.text.len()..].trim_start_matches(is_space);
        items.push(item);
    }
    items.push(Item { token: Token::End, text: "" });
    items
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn special(text: &str) -> Item<'_> {
    let known = [
        ("==", Token::Operator(Operator::DoubleEquals)),
        ("!=", Token::Operator(Operator::NotEquals)),
        ("=", Token::Operator(Operator::Equals)),
        (">", Token::Operator(Operator::GreaterThan)),
        ("<", Token::Operator(Operator::LessThan)),
        ("!", Token::Not),
        ("(", Token::Open),
        (")", Token::Close),
        (",", Token::Comma),
    ];
    known
        .into_iter()
        .find(|(sign, _)| text.starts_with(sign))
        .map(|(sign, token)| Item { token, text: &text[..sign.len()] })
        .unwrap_or(Item { token: Token::Error, text })
}

fn word(text: &str) -> Item<'_> {
    let text = text.find(|c| is_special(c) || is_space(c)).map_or(text, |end| &text[..end]);
    let token = match text {
        "in" => Token::Operator(Operator::In),
        "notin" => Token::Operator(Operator::NotIn),
        _ => Token::Identifier,
    };
    Item { token, text }
}

struct Parser<'a> {
    items: Vec<Item<'a>>,
    position: usize,
}

impl<'a> Parser<'a> {
    /// The next item where an operator may stand.
    fn peek_operator(&self) -> Item<'a> {
        let Item { token, text } = &self.items[self.position.min(self.items.len() - 1)];
        Item { token: *token, text }
    }

    /// The next item where a name or value may stand: `in` and `notin` are names there.
    fn peek(&self) -> Item<'a> {
        let Item { token, text } = self.peek_operator();
        match token {
            Token::Operator(Operator::In | Operator::NotIn) => Item { token: Token::Identifier, text },
            token => Item { token, text },
        }
    }

    fn next(&mut self) -> Item<'a> {
        let item = self.peek();
        self.position += 1;
        item
    }

    fn requirement(&mut self) -> Result<Requirement, ParseSelectorError> {
        let mut item = self.next();
        let negated = item.token == Token::Not;
        if negated {
            item = self.next();
        }
        if item.token != Token::Identifier {
            return Err(found(item.text, "identifier"));
        }
        let key = item.text;
        let reasons = syntax::qualified_name(key);
        if !reasons.is_empty() {
            // The key has no path here, and that is how Kubernetes writes none.
            return Err(ParseSelectorError::new(format!(
                "<nil>: Invalid value: {key:?}: {}",
                reasons.join("; ")
            )));
        }
        if negated {
            return Requirement::new(key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek().token, Token::End | Token::Comma) {
            return Requirement::new(key, Operator::Exists, Vec::new());
        }
        let item = self.peek_operator();
        let Token::Operator(operator) = item.token else {
            return Err(found(item.text, "in, notin, =, ==, !=, gt, lt"));
        };
        self.position += 1;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.exact_value()?],
        };
        Requirement::new(key, operator, values)
    }

    fn exact_value(&mut self) -> Result<String, ParseSelectorError> {
        if matches!(self.peek().token, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        let item = self.next();
        match item.token {
            Token::Identifier => Ok(item.text.to_owned()),
            _ => Err(found(item.text, "identifier")),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, ParseSelectorError> {
        let open = self.next();
        if open.token != Token::Open {
            return Err(ParseSelectorError::new(format!("found '{}' expected: '('", open.text)));
        }
        let first = self.peek();
        match first.token {
            Token::Identifier | Token::Comma => {}
            Token::Close => {
                self.next();
                return Ok(vec![String::new()]);
            }
            _ => return Err(found(first.text, "',', ')' or identifier")),
        }
        let mut values = Vec::new();
        loop {
            let item = self.next();
            match item.token {
                Token::Identifier => {
                    values.push(item.text.to_owned());
                    match self.peek().token {
                        Token::Comma => {}
                        Token::Close => break,
                        _ => return Err(found(self.peek().text, "',' or ')'")),
                    }
                }
                // An empty value stands between two commas, before the first and after the last.
                Token::Comma => {
                    if values.is_empty() {
                        values.push(String::new());
                    }
                    match self.peek().token {
                        Token::Close => {
                            values.push(String::new());
                            break;
                        }
                        Token::Comma => {
                            self.next();
                            values.push(String::new());
                        }
                        _ => {}
                    }
                }
                _ => return Err(found(item.text, "',', or identifier")),
            }
        }
        self.next();
        Ok(values)
    }
}
