//! Frames as clients send them, whole and cut, good and bad.

use proptest::prelude::*;

use super::*;

/// A frame of a client.
fn masked(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut bytes = Vec::new();
    put_head(&mut bytes, Opcode::Text, payload.len());
    bytes[0] = first_byte;
    bytes[1] |= 0x80;
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// Decodes bytes that come in parts, and joins the pieces of messages.
fn decode(parts: &[&[u8]]) -> Result<(Vec<Vec<u8>>, Vec<Frame>), FrameError> {
    let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
    let (mut messages, mut open, mut others) = (Vec::new(), None, Vec::new());
    for part in parts {
        buffer.extend_from_slice(part);
        while let Some(frame) = decoder.next(&mut buffer)? {
            match frame {
                Frame::Piece { data, first, last } => {
                    assert_eq!(first, open.is_none(), "a message begins once");
                    open.get_or_insert_with(Vec::new).extend_from_slice(&data);
                    if last {
                        messages.extend(open.take());
                    }
                }
                other => others.push(other),
            }
        }
    }
    Ok((messages, others))
}

#[test]
fn messages_come_whole_however_they_are_cut() {
    let long = vec![7; 70_000];
    let bytes = [
        masked(0x82, b"hello"),
        masked(0x81, b""),
        masked(0x02, b"in "),
        masked(0x89, b"p"),
        masked(0x00, b"three "),
        masked(0x80, b"parts"),
        masked(0x82, &long),
        masked(0x8a, b""),
        masked(0x88, b"\x03\xe8bye"),
    ]
    .concat();
    let messages = vec![b"hello".to_vec(), Vec::new(), b"in three parts".to_vec(), long];
    let others = vec![Frame::Ping(Bytes::from_static(b"p")), Frame::Pong, Frame::Close];
    assert_eq!(decode(&[&bytes]), Ok((messages.clone(), others.clone())));
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(decode(&single), Ok((messages.clone(), others.clone())));
    let odd: Vec<&[u8]> = bytes.chunks(7).collect();
    assert_eq!(decode(&odd), Ok((messages, others)));
}

#[test]
fn what_no_client_may_send_is_refused() {
    for (bytes, error) in [
        (vec![0x82, 0x05, 1, 2, 3, 4, 5], FrameError::NotMasked),
        (masked(0xc2, b"x"), FrameError::Unknown),
        (masked(0x83, b"x"), FrameError::Unknown),
        (masked(0x8b, b"x"), FrameError::Unknown),
        (masked(0x09, b"x"), FrameError::BadControl),
        (masked(0x89, &[0; 126]), FrameError::BadControl),
        (masked(0x80, b"x"), FrameError::BadSequence),
        ([masked(0x02, b"x"), masked(0x02, b"y")].concat(), FrameError::BadSequence),
        (vec![0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], FrameError::TooLong),
    ] {
        assert_eq!(decode(&[&bytes]), Err(error), "{bytes:02x?}");
    }
}

#[test]
fn a_reason_for_the_end_is_cut_between_letters() {
    let mut bytes = Vec::new();
    put_close(&mut bytes, 1011, &"ä".repeat(100));
    assert_eq!((bytes[0], usize::from(bytes[1])), (0x88, bytes.len() - 2));
    assert!(std::str::from_utf8(&bytes[4..]).is_ok() && bytes.len() <= 127);
}

proptest! {
    #[test]
    fn any_bytes_are_frames_or_an_error_and_never_more_than_they_are(parts in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..64), 0..16,
    )) {
        let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
        let (mut given, mut taken) = (0, 0);
        'all: for part in &parts {
            buffer.extend_from_slice(part);
            given += part.len();
            loop {
                match decoder.next(&mut buffer) {
                    Ok(Some(Frame::Piece { data, .. } | Frame::Ping(data))) => taken += data.len(),
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'all,
                }
            }
        }
        prop_assert!(taken <= given);
    }

    #[test]
    fn every_message_survives_any_cut(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..8),
        cut in 1..50usize,
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|message| masked(0x82, message)).collect();
        let parts: Vec<&[u8]> = bytes.chunks(cut).collect();
        prop_assert_eq!(decode(&parts), Ok((messages, Vec::new())));
    }
}
