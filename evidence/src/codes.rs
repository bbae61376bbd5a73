//! Closed lists: each member has a code that is signed and a slug that people meet.

/// Declares such a list. Codes and slugs are part of format version 1: never reuse or renumber.
macro_rules! closed_list {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$member_doc:meta])* $member:ident = $code:literal $slug:literal,)+ }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$member_doc])* $member = $code,)+ }

        impl $name {
            /// Every member, by ascending code.
            pub const ALL: &[$name] = &[$($name::$member,)+];

            pub fn code(self) -> u8 {
                self as u8
            }

            pub fn from_code(code: u8) -> Option<$name> {
                match code {
                    $($code => Some($name::$member),)+
                    _ => None,
                }
            }

            /// The stable name used in replies, logs, metrics and pages.
            pub fn slug(self) -> &'static str {
                match self {
                    $($name::$member => $slug,)+
                }
            }

            pub fn from_slug(slug: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|member| member.slug() == slug)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.slug())
            }
        }
    };
}

pub(crate) use closed_list;
