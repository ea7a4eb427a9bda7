//! The specified actions by category. Others may be used, but the detection rules know these.

use crate::Category;

macro_rules! actions {
    ($($category:ident { $($name:ident = $text:literal,)* })*) => {
        $($(
            #[doc = concat!("`", $text, "`")]
            pub const $name: &str = $text;
        )*)*

        /// All actions by category. Some are used with other categories too.
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

/// A run of a program begins. Not part of the specification: it marks the start of a sequence.
pub const AUDIT_START: &str = "audit_start";
/// A run ends, and all events before it were sent or spooled.
pub const AUDIT_STOP: &str = "audit_stop";
