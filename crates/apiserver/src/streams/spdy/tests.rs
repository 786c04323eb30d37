//! Frames as clients send them, whole and cut, good and bad.

use proptest::prelude::*;

use super::*;

fn headers(pairs: &[(&str, &str)]) -> Headers {
    Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

/// Decodes bytes that come in parts, and joins the pieces of data.
fn decode(parts: &[&[u8]]) -> Result<Vec<Frame>, SpdyError> {
    let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
    let mut frames: Vec<Frame> = Vec::new();
    for part in parts {
        buffer.extend_from_slice(part);
        while let Some(frame) = decoder.next(&mut buffer)? {
            match (frames.last_mut(), frame) {
                (
                    Some(Frame::Data { stream: last, data: all, fin: ended }),
                    Frame::Data { stream, data, fin },
                ) if *last == stream && !*ended => {
                    *all = [all.as_ref(), &data].concat().into();
                    *ended = fin;
                }
                (_, frame) => frames.push(frame),
            }
        }
    }
    Ok(frames)
}

/// A conversation of a client, and what it means.
fn conversation() -> (Vec<u8>, Vec<Frame>) {
    let mut encoder = Encoder::default();
    let mut bytes = Vec::new();
    let (error, data) = (headers(&[("streamtype", "error")]), headers(&[("streamtype", "data")]));
    encoder.syn_stream(&mut bytes, 1, &error, true);
    encoder.syn_stream(&mut bytes, 3, &data, false);
    put_data(&mut bytes, 3, b"hello", false);
    put_ping(&mut bytes, 7);
    encoder.syn_reply(&mut bytes, 2);
    put_data(&mut bytes, 3, b"", true);
    put_reset(&mut bytes, 3, ResetCode::ProtocolError);
    put_control(&mut bytes, 4, 0, 4);
    bytes.extend([0; 4]);
    put_control(&mut bytes, 9, 0, 8);
    bytes.extend([0, 0, 0, 3, 0, 0, 1, 0]);
    put_go_away(&mut bytes, 3);
    let frames = vec![
        Frame::SynStream { stream: 1, headers: error, fin: true },
        Frame::SynStream { stream: 3, headers: data, fin: false },
        Frame::Data { stream: 3, data: Bytes::from_static(b"hello"), fin: false },
        Frame::Ping(7),
        Frame::Other,
        Frame::Data { stream: 3, data: Bytes::new(), fin: true },
        Frame::Reset { stream: 3 },
        Frame::Other,
        Frame::Other,
        Frame::GoAway,
    ];
    (bytes, frames)
}

#[test]
fn frames_come_whole_however_they_are_cut() {
    let (bytes, frames) = conversation();
    assert_eq!(decode(&[&bytes]).expect("good"), frames);
    for size in [1, 3, 8, 11] {
        let parts: Vec<&[u8]> = bytes.chunks(size).collect();
        assert_eq!(decode(&parts).expect("good"), frames, "in parts of {size}");
    }
}

#[test]
fn what_no_client_may_send_ends_the_connection() {
    let control = |kind: u8, length: u8, body: &[u8]| {
        let mut bytes = vec![0x80, 3, 0, kind, 0, 0, 0, length];
        bytes.extend(body);
        bytes
    };
    for (bytes, error) in [
        (vec![0x80, 2, 0, 1, 0, 0, 0, 0], SpdyError::Version),
        (vec![0x80, 3, 0, 1, 0, 0xff, 0, 0], SpdyError::TooLong),
        (vec![0, 0, 0, 0, 0, 0, 0, 1, b'x'], SpdyError::Malformed),
        (control(1, 4, &[0, 0, 0, 1]), SpdyError::Malformed),
        (control(1, 14, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]), SpdyError::Headers),
        (control(1, 10, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), SpdyError::Headers),
        (control(3, 2, &[0, 0]), SpdyError::Malformed),
        (control(3, 8, &[0; 8]), SpdyError::Malformed),
        (control(6, 1, &[0]), SpdyError::Malformed),
    ] {
        assert_eq!(decode(&[&bytes]), Err(error), "{bytes:02x?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_frames_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let parts: Vec<&[u8]> = bytes.chunks(17).collect();
        let _ = decode(&parts);
    }

    #[test]
    fn a_conversation_with_a_wrong_byte_is_frames_or_an_error(at in 0..400usize, bit in 0..8u8) {
        let (mut bytes, _) = conversation();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let _ = decode(&[&bytes]);
    }

    #[test]
    fn data_survives_any_cut(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..10),
        cut in 1..40usize,
    ) {
        let mut bytes = Vec::new();
        for piece in &pieces {
            put_data(&mut bytes, 5, piece, false);
        }
        put_data(&mut bytes, 5, b"", true);
        let parts: Vec<&[u8]> = bytes.chunks(cut).collect();
        let data = pieces.concat().into();
        prop_assert_eq!(decode(&parts), Ok(vec![Frame::Data { stream: 5, data, fin: true }]));
    }
}
