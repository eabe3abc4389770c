//! Scripts with the answers, logs and fuel that are expected of them: one folder for each case under `tests/cases`.
