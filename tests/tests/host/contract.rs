//! The contract: what is rendered for people is fresh, and the table keeps its own rules.

use std::collections::HashSet;

use abi::{Error, Rights, SYSCALLS};
use handover_tests::contract;

#[test]
fn the_rendered_contract_is_fresh() {
    for document in contract::documents() {
        let path = document.path();
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        let name = path.display();
        assert!(
            there == document.text,
            "{name} is stale; make doc writes it"
        );
    }
}

#[test]
fn every_call_has_a_name_a_sentence_and_each_of_its_errors_once() {
    let mut names = HashSet::new();
    for call in SYSCALLS {
        assert!(names.insert(call.name), "{} twice", call.name);
        assert!(call.doc.trim().ends_with('.'), "{}", call.name);
        let errors: HashSet<_> = call.errors.iter().collect();
        assert_eq!(errors.len(), call.errors.len(), "{}", call.name);
        let arguments: HashSet<_> = call.arguments.iter().map(|a| a.name).collect();
        assert_eq!(arguments.len(), call.arguments.len(), "{}", call.name);
    }
}

/// A handle can always be bad, on its way, or revoked, and whoever reads the list must find it.
#[test]
fn a_call_lists_what_its_handles_can_be() {
    for call in SYSCALLS {
        let lists = |error| call.errors.contains(&error);
        let takes_handle = call.arguments.iter().any(|a| a.ty == "Handle");
        if takes_handle {
            assert!(lists(Error::BadHandle), "{}", call.name);
            assert!(lists(Error::InTransit), "{}", call.name);
            // A revoked handle can still be dropped.
            assert_eq!(lists(Error::Revoked), call.name != "cap_drop");
        }
        let needs = call.rights.iter().any(|rights| *rights != Rights::empty());
        assert!(!needs || lists(Error::Denied), "{}", call.name);
        let copies = call.arguments.iter().any(|a| a.c_type.contains('*'));
        assert!(!copies || lists(Error::Fault), "{}", call.name);
    }
}

#[test]
fn every_error_has_a_name_and_a_sentence() {
    let mut names = HashSet::new();
    for error in Error::ALL {
        assert!(names.insert(error.name()));
        let sentence = error.description().trim();
        assert!(sentence.ends_with('.'), "{error}: {sentence}");
        assert_eq!(Error::from_code(*error as u64), Some(*error));
    }
}
