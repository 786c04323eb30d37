//! CertificateSigningRequest: who asks is what the server saw, not what the document says.

use super::{PLAIN, Rules};

pub(super) const RULES: Rules = PLAIN;
