//! SQL in a value, judged by its tokens: what an application that puts the value into a statement
//! would run, but a person who writes about SQL would not write.

mod clauses;

use super::ordinary::is_ordinary;
use super::tokens::{Token, Within, tokenize};

/// Functions that wait, read files or reveal data by errors.
const DANGEROUS: [&str; 30] = [
    "sleep",
    "pg_sleep",
    "benchmark",
    "randomblob",
    "dbms_pipe.receive_message",
    "dbms_lock.sleep",
    "dbms_session.sleep",
    "extractvalue",
    "updatexml",
    "load_file",
    "xp_cmdshell",
    "xp_dirtree",
    "xp_regread",
    "utl_http.request",
    "utl_inaddr.get_host_address",
    "utl_inaddr.get_host_name",
    "ctxsys.drithsx.sn",
    "name_const",
    "gtid_subset",
    "gtid_subtract",
    "json_keys",
    "geometrycollection",
    "multipoint",
    "polygon",
    "linestring",
    "pg_read_file",
    "lo_import",
    "sys_eval",
    "sys_exec",
    "analyse",
];

/// Other functions that payloads call.
const FUNCTIONS: [&str; 42] = [
    "ascii",
    "bin",
    "cast",
    "char",
    "char_length",
    "chr",
    "coalesce",
    "concat",
    "concat_ws",
    "convert",
    "count",
    "current_user",
    "database",
    "db_name",
    "elt",
    "exp",
    "floor",
    "greatest",
    "group_concat",
    "hex",
    "if",
    "ifnull",
    "iif",
    "instr",
    "isnull",
    "left",
    "length",
    "len",
    "lower",
    "make_set",
    "md5",
    "mid",
    "nullif",
    "nvl",
    "ord",
    "rand",
    "substr",
    "substring",
    "unhex",
    "upper",
    "user",
    "version",
];

/// Tables and views of the systems.
const CATALOGS: [&str; 24] = [
    "information_schema",
    "pg_catalog",
    "pg_shadow",
    "pg_user",
    "pg_class",
    "mysql.user",
    "sysobjects",
    "syscolumns",
    "sys.databases",
    "sysdatabases",
    "sysibm.",
    "syscat.",
    "sysusers",
    "syslogins",
    "master..",
    "pg_group",
    "pg_roles",
    "pg_stat_activity",
    "all_tables",
    "user_tables",
    "sqlite_master",
    "msysobjects",
    "dual",
    "v$version",
];

/// Words that may stand before a value in SQL, where a person's word would not.
const KEYWORDS: [&str; 33] = [
    "all", "and", "as", "between", "by", "case", "distinct", "div", "else", "exec", "execute",
    "exists", "from", "having", "if", "in", "insert", "into", "is", "like", "not", "on", "or",
    "regexp", "return", "rlike", "select", "set", "then", "values", "when", "where", "xor",
];

/// Boolean connectives.
fn is_connective(token: Token<'_>) -> bool {
    matches!(
        token,
        Token::Word("and" | "or" | "xor" | "having" | "where" | "rlike" | "regexp")
            | Token::Operator("&&" | "||")
    )
}

fn is_comparison(token: Token<'_>) -> bool {
    matches!(
        token,
        Token::Operator("=" | "<" | ">" | "<=" | ">=" | "<>" | "!=")
            | Token::Word("like" | "rlike" | "regexp" | "between" | "in" | "is")
    )
}

fn is_arithmetic(token: Token<'_>) -> bool {
    matches!(
        token,
        Token::Operator("+" | "-" | "*" | "/" | "%" | "||" | "|" | "&" | "^")
            | Token::Word("div" | "mod")
    )
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

/// A value read in one way.
struct Reading<'a> {
    tokens: Vec<Token<'a>>,
    within: Within,
}

impl<'a> Reading<'a> {
    fn get(&self, i: usize) -> Token<'a> {
        self.tokens.get(i).copied().unwrap_or(Token::Other)
    }

    fn before(&self, i: usize) -> Option<Token<'a>> {
        i.checked_sub(1).map(|i| self.get(i))
    }

    fn is_quoted(&self) -> bool {
        matches!(self.within, Within::Quote(_)) && matches!(self.get(0), Token::Text(_, true))
    }

    /// Whether the tokens before `i` are what a value would be, so that SQL may begin at `i`: none,
    /// a single one, or such as end a value. Prose has more words before.
    fn breaks_out(&self, i: usize) -> bool {
        i <= 1
            || self.is_quoted() && i <= 4
            || matches!(
                self.get(i - 1),
                Token::Text(..)
                    | Token::Number(_)
                    | Token::Close
                    | Token::Comment(_)
                    | Token::Semicolon
            )
            || i == 2 && matches!(self.get(0), Token::Operator(_) | Token::Number(_))
    }

    /// Whether a comment or the end of a statement follows from `i`.
    fn ends(&self, i: usize) -> bool {
        let mut i = i;
        while matches!(self.get(i), Token::Close) && i < self.tokens.len() {
            i += 1;
        }
        matches!(self.get(i), Token::Comment(_) | Token::Semicolon)
    }

    /// Returns the position behind the parenthesis that opens at `i`, or the end.
    fn behind_parenthesis(&self, i: usize) -> usize {
        let mut depth = 0_usize;
        for (at, token) in self.tokens.iter().enumerate().skip(i) {
            match token {
                Token::Open => depth += 1,
                Token::Close => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return at + 1;
            }
        }

        self.tokens.len()
    }

    fn is_call(&self, i: usize, names: &[&str]) -> bool {
        matches!(self.get(i), Token::Word(name) if names.contains(&name))
            && self.get(i + 1) == Token::Open
    }

    /// Returns the position behind an operand at `i`, if it is not just a name: a literal, a call
    /// or an expression in parentheses.
    fn behind_operand(&self, i: usize) -> Option<usize> {
        let mut at = i;
        while matches!(
            self.get(at),
            Token::Word("not" | "binary" | "distinct" | "all" | "any")
                | Token::Operator("!" | "~" | "-" | "+")
        ) {
            at += 1;
        }

        match self.get(at) {
            Token::Number(_) | Token::Text(..) | Token::Variable => Some(at + 1),
            Token::Word("true" | "false" | "null" | "current_user" | "user" | "n" | "x")
                if self.get(at + 1) != Token::Open =>
            {
                // `n'a'` and `x'41'` are strings.
                let prefixed = matches!(self.get(at + 1), Token::Text(..));
                let is_name = matches!(self.get(at), Token::Word("n" | "x"));
                (!is_name || prefixed).then(|| at + 1 + usize::from(prefixed))
            }
            Token::Word("case") => Some(self.tokens.len()),
            Token::Word(_) if self.get(at + 1) == Token::Open => {
                Some(self.behind_parenthesis(at + 1))
            }
            Token::Open => Some(self.behind_parenthesis(at)),
            _ => None,
        }
    }

    /// Returns the position behind operands that arithmetic connects.
    fn behind_expression(&self, i: usize) -> Option<usize> {
        let mut at = self.behind_operand(i)?;
        while is_arithmetic(self.get(at)) {
            at = self.behind_operand(at + 1)?;
        }
        Some(at)
    }

    /// Returns whether a person's word follows at `i`, where a statement would be in error.
    fn goes_on_as_prose(&self, i: usize) -> bool {
        const GOES_ON: [&str; 22] = [
            "and",
            "or",
            "xor",
            "limit",
            "order",
            "group",
            "having",
            "union",
            "intersect",
            "except",
            "minus",
            "into",
            "procedure",
            "for",
            "lock",
            "offset",
            "fetch",
            "collate",
            "then",
            "else",
            "end",
            "when",
        ];
        !self.is_quoted()
            && !self.ends_with_comment()
            && matches!(self.get(i), Token::Word(word)
                if !GOES_ON.contains(&word) && !is_comparison(Token::Word(word)))
    }

    /// Returns whether constants are compared at `i`, perhaps in parentheses that do not close.
    fn compares_constants(&self, i: usize) -> bool {
        let mut at = i;
        while matches!(self.get(at), Token::Open | Token::Word("not")) {
            if self.compares_at(at + 1) {
                return true;
            }
            at += 1;
        }

        self.compares_at(i)
    }

    fn compares_at(&self, i: usize) -> bool {
        let behind = |at| self.behind_expression(at);
        let Some(at) = behind(i) else {
            // A name compared with itself.
            return matches!(self.get(i), Token::Word(name) if
                self.get(i + 1) == Token::Operator("=") && self.get(i + 2) == Token::Word(name));
        };
        let at = at + usize::from(self.get(at) == Token::Word("not"));
        let at_right = match (self.get(at), self.get(at + 1)) {
            (Token::Word("is"), Token::Word("not"))
            | (Token::Operator("<="), Token::Operator(">")) => at + 2,
            (Token::Word("sounds"), Token::Word("like")) => at + 2,
            (token, _) if is_comparison(token) => at + 1,
            _ => return false,
        };

        match behind(at_right) {
            Some(end) => !self.goes_on_as_prose(end),
            None => self.get(at_right) == Token::Open,
        }
    }

    /// A connective and a condition that does not depend on the data, or that asks it.
    fn has_condition(&self) -> bool {
        (0..self.tokens.len()).any(|i| {
            let is_value = matches!(self.get(0), Token::Number(_) | Token::Text(..));
            // `1 group by x having 1=1`.
            let is_having = self.get(i) == Token::Word("having") && is_value;
            if !is_connective(self.get(i)) || !(self.breaks_out(i) || is_having) {
                return false;
            }
            // `1 or true`.
            let last = i + 2 == self.tokens.len() || self.ends(i + 2);
            if i == 1 && is_value && last && matches!(self.get(2), Token::Word("true" | "not")) {
                return true;
            }
            // ` or x=y --`: names, and a comment that cuts off what follows.
            if i == 0
                && self.ends_with_comment()
                && is_comparison(self.get(2))
                && self.tokens.len() == 5
            {
                return true;
            }
            // `1 < 2 and 3 > 2` is mathematics.
            let compares_before = self.tokens[..i].iter().any(|token| is_comparison(*token));
            if compares_before && !self.is_quoted() && !self.ends_with_comment() {
                return false;
            }
            // `x || y` and `a && b` connect parameters as well.
            let is_word = matches!(self.get(i), Token::Word(_));
            let next = i + 1 + usize::from(matches!(self.get(i + 1), Token::Word("not")));
            if self.compares_constants(i + 1) && (is_word || self.is_quoted() || i > 0) {
                return true;
            }

            let mut inner = next;
            while self.get(inner) == Token::Open {
                inner += 1;
            }
            let asks = matches!(
                (self.get(inner), self.get(inner + 1)),
                (Token::Word("select"), _) | (Token::Word("exists"), Token::Open)
            ) || self.get(inner) == Token::Word("case")
                && self.get(inner + 1) == Token::Word("when")
                || self.is_call(inner, &FUNCTIONS)
                || self.is_call(inner, &DANGEROUS);
            if asks && (inner > next || self.get(inner) != Token::Word("select")) {
                return true;
            }

            // `' or 1 --`, and `x' or user_id = 1 --`.
            let ends = self
                .behind_expression(next)
                .is_some_and(|end| self.ends(end));
            let names =
                matches!(self.get(next), Token::Word(_)) && is_comparison(self.get(next + 1));
            (self.is_quoted() || i == 1) && (ends && is_word)
                || self.is_quoted()
                    && i <= 3
                    && names
                    && matches!(
                        self.get(next + 2),
                        Token::Text(..) | Token::Number(_) | Token::Word("not" | "null")
                    )
        })
    }

    /// `'='`, `' or 'x`: a string that the application's own quotation mark ends.
    fn is_string_trick(&self) -> bool {
        let Token::Text(head, true) = self.get(0) else {
            return false;
        };
        let last = self.tokens.len().saturating_sub(1);
        let Token::Text(tail, false) = self.get(last) else {
            return false;
        };
        let short = |text: &str| !text.contains(' ') && text.len() <= 20;

        // `' or ''-'`.
        let makes_number = last == 4
            && head.is_empty()
            && tail.is_empty()
            && is_connective(self.get(1))
            && matches!(self.get(2), Token::Text("", true))
            && is_arithmetic(self.get(3));
        if self.is_quoted() && makes_number {
            return true;
        }
        self.is_quoted()
            && last == 2
            && short(head)
            && short(tail)
            && match self.get(1) {
                Token::Operator("=" | "||" | "&&" | "<>" | "!=" | ">" | "<" | "==") => true,
                // `'-'` alone makes a number of the strings around it.
                Token::Operator("-" | "+" | "*" | "&" | "^" | "%" | "|" | "/") => {
                    head.is_empty() && tail.is_empty()
                }
                Token::Word("or" | "like" | "xor") => head.is_empty() || !tail.is_empty(),
                _ => false,
            }
    }

    /// What `select` may begin with at `i`; prose goes on with words.
    fn is_select_list(&self, i: usize) -> bool {
        let mut at = i;
        while matches!(
            self.get(at),
            Token::Word("all" | "distinct" | "distinctrow" | "top") | Token::Open
        ) {
            at += 1;
        }

        match self.get(at) {
            Token::Number(_) | Token::Text(..) | Token::Variable => true,
            Token::Operator("*" | "-" | "+" | "~" | "!" | "%") => true,
            Token::Word("null" | "case" | "current_user" | "user") => true,
            Token::Word("select") => self.is_select_list(at + 1),
            Token::Word(_) => match self.get(at + 1) {
                Token::Open | Token::Comma | Token::Operator(_) => true,
                Token::Word("from") => matches!(self.get(at + 2), Token::Word(_)),
                _ => false,
            },
            _ => false,
        }
    }

    /// `union select 1`, `(select …`, `; select …`.
    fn has_select(&self) -> bool {
        (0..self.tokens.len()).any(|i| {
            let is_set = matches!(
                self.get(i),
                Token::Word("union" | "intersect" | "except" | "minus")
            );
            if is_set {
                let mut at = i + 1;
                while matches!(
                    self.get(at),
                    Token::Word("all" | "distinct" | "distinctrow")
                        | Token::Open
                        | Token::Operator("+")
                ) {
                    at += 1;
                }
                let values =
                    self.get(at) == Token::Word("values") && self.get(at + 1) == Token::Open;
                let select = self.get(at) == Token::Word("select") && self.is_select_list(at + 1);
                // `' union select`, sent to see whether the statement breaks.
                let is_last = self.get(at) == Token::Word("select") && at + 1 == self.tokens.len();
                if is_last && self.is_quoted() && i == 1 {
                    return true;
                }
                // Prose may mention `union select null` after other words.
                return (select || values)
                    && (self.breaks_out(i)
                        || self.lists_several(at + 1)
                        || self.ends_with_comment());
            }

            if self.get(i) != Token::Word("select") || !self.is_select_list(i + 1) {
                return false;
            }
            match self.before(i) {
                Some(Token::Semicolon) => true,
                Some(Token::Open) => self.is_value_position(i - 1),
                Some(Token::Operator(_) | Token::Text(..)) => self.is_quoted(),
                None => self.is_telling_query(),
                _ => false,
            }
        })
    }

    fn ends_with_comment(&self) -> bool {
        matches!(self.tokens.last(), Some(Token::Comment(_)))
    }

    /// Whether a list of literals stands at `i`.
    fn lists_several(&self, i: usize) -> bool {
        self.behind_operand(i)
            .is_some_and(|at| self.get(at) == Token::Comma && self.behind_operand(at + 1).is_some())
    }

    /// Whether a parenthesis at `i` stands where SQL wants a value: not after a word of prose.
    fn is_value_position(&self, i: usize) -> bool {
        match self.before(i) {
            None => true,
            Some(Token::Word(word)) => {
                KEYWORDS.contains(&word) || FUNCTIONS.contains(&word) || self.breaks_out(i)
            }
            Some(_) => true,
        }
    }

    /// A query that is the whole value and asks for more than a lesson would: a system's tables,
    /// a function, a variable.
    fn is_telling_query(&self) -> bool {
        let has_from = self.tokens.contains(&Token::Word("from"));
        self.tokens
            .iter()
            .enumerate()
            .any(|(i, token)| match token {
                Token::Variable => true,
                Token::Word(name) => {
                    has_from && CATALOGS.iter().any(|catalog| name.starts_with(catalog))
                        || self.is_call(i, &DANGEROUS)
                        || self.is_call(
                            i,
                            &[
                                "concat",
                                "group_concat",
                                "char",
                                "chr",
                                "if",
                                "version",
                                "current_database",
                                "current_setting",
                                "inet_server_addr",
                            ],
                        )
                }
                _ => false,
            })
            || has_from && self.ends_with_comment()
    }

    /// A call of a function that waits or reads files.
    fn has_dangerous_call(&self) -> bool {
        (0..self.tokens.len()).any(|i| {
            if !self.is_call(i, &DANGEROUS) {
                return false;
            }
            let has_arguments = match self.get(i) {
                // The manual's sections 2 and 3 describe functions of this name.
                Token::Word("sleep") => {
                    self.tokens.len() > 4
                        || !matches!(self.get(i + 2), Token::Number("1" | "2" | "3"))
                }
                Token::Word("benchmark") => self.get(i + 3) == Token::Comma,
                _ => self.get(i + 2) != Token::Close || self.get(i) == Token::Word("analyse"),
            };
            let operand = matches!(
                self.get(i + 2),
                Token::Number(_)
                    | Token::Text(..)
                    | Token::Open
                    | Token::Variable
                    | Token::Operator("-" | "@" | "~")
                    | Token::Close
            ) || matches!(self.get(i + 2), Token::Word(_))
                && matches!(
                    self.get(i + 3),
                    Token::Open | Token::Comma | Token::Operator(_) | Token::Close
                );
            let follows_prose = matches!(self.before(i), Some(Token::Word(word))
                if !KEYWORDS.contains(&word) && word != "procedure" && i > 1);
            let behind = self.behind_parenthesis(i + 1);
            // `sleep(5) in python`.
            let preposition = matches!(self.get(behind), Token::Word("in" | "on" | "is"))
                && matches!(self.get(behind + 1), Token::Word(_));
            let prose_follows = i == 0
                && (preposition
                    || matches!(self.get(behind), Token::Word(word) if !KEYWORDS.contains(&word)));

            has_arguments && operand && !follows_prose && !prose_follows
        })
    }

    /// `'||chr(…)`, `'+(select`: a string goes on with an expression.
    fn goes_on_with_call(&self) -> bool {
        (0..self.tokens.len()).any(|i| {
            let joins = matches!(
                self.get(i),
                Token::Operator("+" | "||" | "|" | "-" | "*" | "^" | "&" | "&&" | "/" | "%")
            );
            let follows_value =
                self.is_quoted() && i <= 3 || matches!(self.before(i), Some(Token::Number(_)));
            joins && follows_value && self.is_sql_call(i + 1)
        })
    }

    fn is_sql_call(&self, i: usize) -> bool {
        let mut at = i;
        while self.get(at) == Token::Open {
            at += 1;
        }
        self.is_call(at, &FUNCTIONS)
            || self.is_call(at, &DANGEROUS)
            || at > i && self.get(at) == Token::Word("select")
    }

    /// `admin' --`: a comment cuts off the rest of the statement.
    fn cuts_statement_off(&self) -> bool {
        if !self.is_quoted() {
            return false;
        }
        let mut at = 1;
        while matches!(self.get(at), Token::Close | Token::Semicolon) {
            at += 1;
        }
        let Token::Text(value, _) = self.get(0) else {
            return false;
        };
        let Token::Comment(rest) = self.get(at) else {
            return false;
        };
        // `7" #2 needles` is a size.
        let rest = rest.trim_matches([' ', '-', '+', '/', '*']);
        let is_single = !value.contains(' ') && !rest.contains(' ') && !rest.starts_with(is_digit);
        at + 1 == self.tokens.len()
            && (rest.is_empty() && value.split(' ').count() <= 2 || is_single)
    }

    fn is_injection(&self) -> bool {
        self.has_dangerous_call()
            || self.has_condition()
            || self.has_select()
            || self.is_string_trick()
            || self.has_second_statement()
            || self.has_clause()
            || self.goes_on_with_call()
            || self.cuts_statement_off()
    }
}

/// Returns whether a decoded and normalized value is SQL.
pub(super) fn is_sql(value: &str) -> bool {
    if is_ordinary(value) {
        return false;
    }
    if value.contains("{\"$") || value.contains("'$where'") {
        return true;
    }

    let ways = [Within::Bare, Within::Quote(b'\''), Within::Quote(b'"')];
    // A comment within a keyword hides it from filters, and from nobody else.
    if value.contains("/**/") {
        let joined = value.replace("/**/", "");
        if joined.contains("union") && joined.contains("select") && !value.contains("union") {
            return true;
        }
    }
    ways.into_iter().any(|within| {
        if let Within::Quote(quote) = within
            && !value.as_bytes().contains(&quote)
        {
            return false;
        }
        Reading {
            tokens: tokenize(value, within),
            within,
        }
        .is_injection()
    })
}

/// Returns whether the name of a parameter is an operator of a document database, as in
/// `password[$ne]`.
pub(super) fn is_operator_name(name: &str) -> bool {
    name.contains("[$")
}
