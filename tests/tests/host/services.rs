//! What goes between a service and its clients, read by whoever gets it; and when a supervisor tries again.

use programs::store;
use programs::supervision::{FIRST_PAUSE, FORGET, LONGEST_PAUSE, Next, RESTARTS, Restarts};
use proptest::collection::vec;
use proptest::prelude::*;
use rt::names::protocol::{
    MAX_NAME, MAX_REQUEST, Name, Refusal, Request, decode_answer, decode_introduction,
    encode_answer, encode_introduction,
};

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn any_name() -> impl Strategy<Value = Name> {
    "[!-~]{1,32}".prop_map(|text| name(&text))
}

fn any_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        any_name().prop_map(Request::Register),
        any_name().prop_map(Request::LookUp),
        any_name().prop_map(Request::Withdraw),
        (any_name(), any::<u64>(), any::<u64>()).prop_map(|(name, appeared, gone)| {
            Request::Watch {
                name,
                appeared,
                gone,
            }
        }),
        any::<u64>().prop_map(Request::Unwatch),
        Just(Request::Attach),
    ]
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_written(request in any_request()) {
        let mut buffer = [0xff; MAX_REQUEST];
        let bytes = request.encode(&mut buffer);
        prop_assert_eq!(Request::decode(bytes), Ok(request));
        prop_assert_eq!(decode_introduction(bytes), None);
    }

    #[test]
    fn an_introduction_is_read_as_it_was_written(name in any_name()) {
        let mut buffer = [0xff; MAX_REQUEST];
        let bytes = encode_introduction(name, &mut buffer);
        prop_assert_eq!(decode_introduction(bytes), Some(name));
        prop_assert_eq!(Request::decode(bytes), Err(Refusal::Malformed));
    }

    /// There is one way to write a request: what differs in a byte is another one or none.
    #[test]
    fn whatever_bytes_come_they_are_the_ones_of_a_request_or_refused(bytes in vec(any::<u8>(), 0..80)) {
        if let Ok(request) = Request::decode(&bytes) {
            let mut buffer = [0; MAX_REQUEST];
            prop_assert_eq!(request.encode(&mut buffer), &bytes[..]);
        }
    }

    #[test]
    fn a_spoilt_request_is_another_one_or_refused(
        request in any_request(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut buffer = [0; MAX_REQUEST];
        let mut bytes = request.encode(&mut buffer).to_vec();
        let place = place.index(bytes.len());
        if cut {
            bytes.truncate(place);
            prop_assert!(Request::decode(&bytes).is_err());
        } else {
            bytes[place] = byte;
            if let Ok(read) = Request::decode(&bytes) {
                let mut again = [0; MAX_REQUEST];
                prop_assert_eq!(read.encode(&mut again), &bytes[..]);
            }
        }
    }

    #[test]
    fn answers_are_read_as_they_were_written(value in any::<u64>(), words in any::<[u64; 4]>()) {
        prop_assert_eq!(decode_answer(encode_answer(Ok(value))), Some(Ok(value)));
        if let Some(answer) = decode_answer(words) {
            prop_assert_eq!(encode_answer(answer), words);
        }
    }
}

#[test]
fn every_refusal_is_told_apart() {
    for refusal in Refusal::ALL {
        assert_eq!(
            decode_answer(encode_answer(Err(refusal))),
            Some(Err(refusal))
        );
    }
}

#[test]
fn a_name_has_1_to_32_visible_characters() {
    let longest = "x".repeat(MAX_NAME);
    for text in ["a", "a.b/c-d_e", &longest] {
        assert_eq!(name(text).as_str(), text);
    }
    for text in ["", "a b", "tab\t", "nul\0", "ä", &(longest + "x")] {
        assert_eq!(Name::new(text), None, "{text:?}");
    }
}

proptest! {
    #[test]
    fn a_request_to_the_store_is_read_as_it_was_written(words in any::<[u64; 4]>(), small in any::<bool>()) {
        let words = if small { words.map(|word| word % 7) } else { words };
        if let Some(request) = store::Request::decode(words) {
            prop_assert_eq!(request.encode(), words);
        }
    }
}

#[test]
fn a_service_that_keeps_ending_is_tried_ever_later_and_then_given_up() {
    let mut restarts = Restarts::new();
    let mut pauses = Vec::new();
    while let Next::Restart { pause, count } = restarts.ended(0) {
        pauses.push(pause);
        assert_eq!(count as usize, pauses.len());
    }
    assert_eq!(pauses.len(), RESTARTS as usize);
    assert_eq!(pauses[0], FIRST_PAUSE);
    assert!(
        pauses
            .windows(2)
            .all(|pair| pair[1] == (pair[0] * 2).min(LONGEST_PAUSE))
    );
    assert_eq!(restarts.ended(FORGET - 1), Next::GiveUp);
}

#[test]
fn a_service_that_lived_for_a_while_starts_over() {
    let mut restarts = Restarts::new();
    for _ in 0..10 * RESTARTS {
        let next = Next::Restart {
            pause: FIRST_PAUSE,
            count: 1,
        };
        assert_eq!(restarts.ended(FORGET), next);
    }
}
