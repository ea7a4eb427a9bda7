//! Second statements, and clauses that only SQL has.

use super::super::tokens::Token;
use super::{DANGEROUS, Reading};

impl Reading<'_> {
    /// A second statement after a semicolon.
    pub(super) fn has_second_statement(&self) -> bool {
        (0..self.tokens.len()).any(|i| {
            let begins = self.get(i) == Token::Semicolon
                || self.is_quoted() && i == 0
                || self.get(i) == Token::Close && self.breaks_out(i);
            if !begins {
                return false;
            }
            let at = i + 1;
            let word = |i| match self.get(i) {
                Token::Word(word) => word,
                _ => "",
            };
            let pair = (word(at), word(at + 1));
            let statement = match pair {
                ("drop", "table" | "database" | "schema" | "view" | "user" | "procedure")
                | (
                    "create" | "alter",
                    "table" | "user" | "database" | "procedure" | "function" | "login" | "role",
                )
                | ("insert", "into")
                | ("delete", "from")
                | ("truncate", "table")
                | ("bulk", "insert")
                | ("grant" | "revoke", "all" | "select" | "dba" | "connect" | "resource")
                | ("execute", "immediate")
                | ("backup", "database")
                | ("copy", _) => self.tokens.len() > at + 2,
                ("update", _) => word(at + 2) == "set",
                ("exec" | "execute" | "call", name) => {
                    !name.is_empty() && (name.contains('_') || name.contains('.'))
                        || matches!(self.get(at + 1), Token::Open | Token::Variable)
                }
                ("declare", _) => self.get(at + 1) == Token::Variable,
                ("shutdown" | "commit" | "rollback", "") => self.ends(at + 1),
                ("shutdown", "with") => true,
                ("waitfor", _) => true,
                ("if" | "begin", _) => self.get(at + 1) == Token::Open,
                _ => false,
            };
            let short_before = self.is_quoted();
            statement && (short_before || self.ends_with_comment() || self.breaks_out(i))
        })
    }

    /// `waitfor delay '0:0:5'`, `order by 10 --`, `into outfile '…'`, `procedure analyse(`,
    /// `exec xp_…`, `convert(int, …`.
    pub(super) fn has_clause(&self) -> bool {
        (0..self.tokens.len()).any(|i| {
            let Token::Word(word) = self.get(i) else {
                return false;
            };
            let next = self.get(i + 1);
            match word {
                // `declare @q nvarchar(200) select @q = 0x7761…`.
                "declare" => {
                    next == Token::Variable
                        && self.tokens.len() > i + 3
                        && (i == 0 || self.breaks_out(i))
                }
                "waitfor" => {
                    matches!(next, Token::Word("delay" | "time"))
                        && matches!(self.get(i + 2), Token::Text(..) | Token::Variable)
                }
                "order" | "group" if next == Token::Word("by") => {
                    let comment = self.ends(i + 3) || i + 3 >= self.tokens.len();
                    let number = matches!(self.get(i + 2), Token::Number(_))
                        && (comment || self.get(i + 3) == Token::Comma);
                    let asks = self.get(i + 2) == Token::Open || self.is_call(i + 2, &DANGEROUS);
                    let after_value = matches!(
                        self.before(i),
                        Some(Token::Text(..) | Token::Number(_) | Token::Close)
                    );
                    number && (after_value && i <= 4 || self.ends(i + 3) || i == 0)
                        || asks && after_value
                        || self.is_quoted() && i <= 3 && self.ends_with_comment()
                }
                "into" => {
                    matches!(next, Token::Word("outfile" | "dumpfile"))
                        && matches!(self.get(i + 2), Token::Text(..))
                }
                "exec" | "execute" => {
                    matches!(next, Token::Word(name)
                        if name.contains("xp_") || name.contains("sp_") || name.starts_with("master"))
                        || next == Token::Open && self.get(i + 2) == Token::Variable
                }
                "convert" => {
                    next == Token::Open
                        && self.get(i + 2) == Token::Word("int")
                        && self.get(i + 3) == Token::Comma
                }
                "xp_cmdshell" => matches!(next, Token::Text(..)),
                "limit" => {
                    self.is_quoted()
                        && i <= 3
                        && matches!(next, Token::Number(_))
                        && self.ends(i + 2)
                }
                _ => false,
            }
        })
    }
}
