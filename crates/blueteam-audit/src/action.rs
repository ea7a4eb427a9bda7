//! The actions of the design, by category. Others may be used; the detection rules know these.

use crate::Category;

macro_rules! actions {
    ($($category:ident { $($name:ident = $text:literal,)* })*) => {
        $($(
            #[doc = concat!("`", $text, "`")]
            pub const $name: &str = $text;
        )*)*

        /// Every action by its category. A few belong to none of them alone, so a text may be used
        /// with another category.
        pub const ALL: &[(Category, &[&str])] = &[$((Category::$category, &[$($text,)*]),)*];
    };
}

actions! {
    Auth {
        LOGIN = "login",
        LOGOUT = "logout",
        LOGIN_FAILED = "login_failed",
        PASSWORD_CHANGE = "password_change",
        PASSWORD_RESET = "password_reset",
        MFA_CHALLENGE = "mfa_challenge",
        IMPERSONATION_START = "impersonation_start",
        IMPERSONATION_END = "impersonation_end",
    }

    Access {
        API_REQUEST = "api_request",
        PAGE_VIEW = "page_view",
        DATA_QUERY = "data_query",
        FILE_DOWNLOAD = "file_download",
        FILE_UPLOAD = "file_upload",
    }

    Admin {
        USER_CREATE = "user_create",
        USER_DELETE = "user_delete",
        USER_DEACTIVATE = "user_deactivate",
        ROLE_CHANGE = "role_change",
        SETTINGS_CHANGE = "settings_change",
        AFFILIATION_CHANGE = "affiliation_change",
    }

    Data {
        BEARING_VIEW = "bearing_view",
        CHAT_MESSAGE = "chat_message",
        CHAT_RESPONSE = "chat_response",
        EXPORT_DATA = "export_data",
        REPORT_GENERATE = "report_generate",
    }

    Ai {
        CHAT_REQUEST = "chat_request",
        CHAT_RESPONSE_FILTERED = "chat_response_filtered",
        GUARDRAIL_TRIGGERED = "guardrail_triggered",
        JAILBREAK_DETECTED = "jailbreak_detected",
    }

    System {
        RATE_LIMIT_HIT = "rate_limit_hit",
        VALIDATION_FAILURE = "validation_failure",
        ERROR_500 = "error_500",
        SESSION_EXPIRED = "session_expired",
        AUDIT_FAILURE = "audit_failure",
    }
}

/// The audit of a program begins (ours, not the design's: without it nobody sees where a sequence
/// begins).
pub const AUDIT_START: &str = "audit_start";
/// It ends, and all before it was sent or spooled.
pub const AUDIT_STOP: &str = "audit_stop";
