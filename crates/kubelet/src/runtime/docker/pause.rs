//! The program of the sandbox: a few hundred bytes of machine code that this file writes itself.
//!
//! It is the first process of every pod: it holds the namespaces, reaps orphans where the pod shares its
//! processes, and ends on SIGTERM or SIGINT. No compiler, no base image and no registry is needed for it: the
//! kubelet puts it into a tar and imports that into Docker. In C it would be:
//!
//! ```c
//! sigprocmask(SIG_BLOCK, all, 0);
//! for (;;) {
//!     int signal = sigtimedwait(all, 0, 0);
//!     if (signal == SIGTERM || signal == SIGINT) exit_group(0);
//!     if (signal == SIGCHLD) while (wait4(-1, 0, WNOHANG, 0) > 0) {}
//! }
//! ```
//!
//! All signals are blocked first: the kernel drops a signal without a handler for the first process of a
//! namespace, but never a blocked one.

/// Where the program is loaded.
const BASE: u64 = 0x40_0000;
/// The ELF header and one program header.
const HEADERS: u64 = 64 + 56;

/// The processors that the program can be written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// AMD64.
    X86_64,
    /// ARM 64.
    Aarch64,
}

impl Machine {
    /// The one that we run on, if it is known here.
    pub fn current() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }
}

/// The program as a static ELF file.
pub fn elf(machine: Machine) -> Vec<u8> {
    let (number, code) = match machine {
        Machine::X86_64 => (62u16, x86_64()),
        Machine::Aarch64 => (183u16, aarch64()),
    };
    let size = HEADERS + code.len() as u64;
    let mut file = Vec::with_capacity(size as usize);
    // Identification: 64 bits, little end first, version 1, System V.
    file.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend_from_slice(&2u16.to_le_bytes()); // executable
    file.extend_from_slice(&number.to_le_bytes());
    file.extend_from_slice(&1u32.to_le_bytes());
    file.extend_from_slice(&(BASE + HEADERS).to_le_bytes()); // entry point
    file.extend_from_slice(&64u64.to_le_bytes()); // program headers
    file.extend_from_slice(&0u64.to_le_bytes()); // no section headers
    file.extend_from_slice(&0u32.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    // One segment: the whole file, readable and executable.
    file.extend_from_slice(&1u32.to_le_bytes());
    file.extend_from_slice(&5u32.to_le_bytes());
    for word in [0, BASE, BASE, size, size, 0x1000] {
        file.extend_from_slice(&u64::to_le_bytes(word));
    }
    file.extend_from_slice(&code);
    file
}

const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;
const SIGCHLD: u8 = 17;

fn x86_64() -> Vec<u8> {
    let mut code: Vec<u8> = Vec::new();
    let mut set_references = Vec::new();
    let mut exit_references = Vec::new();
    code.extend_from_slice(&[0x31, 0xff]); // xor edi, edi (SIG_BLOCK)
    code.extend_from_slice(&[0x48, 0x8d, 0x35]); // lea rsi, [rip + set]
    set_references.push(reserve(&mut code, 4));
    code.extend_from_slice(&[0x31, 0xd2]); // xor edx, edx
    code.extend_from_slice(&[0x41, 0xba, 8, 0, 0, 0]); // mov r10d, 8
    code.extend_from_slice(&[0xb8, 14, 0, 0, 0, 0x0f, 0x05]); // rt_sigprocmask
    let wait = code.len();
    code.extend_from_slice(&[0x48, 0x8d, 0x3d]); // lea rdi, [rip + set]
    set_references.push(reserve(&mut code, 4));
    code.extend_from_slice(&[0x31, 0xf6, 0x31, 0xd2]); // xor esi, esi; xor edx, edx
    code.extend_from_slice(&[0x41, 0xba, 8, 0, 0, 0]); // mov r10d, 8
    code.extend_from_slice(&[0xb8, 128, 0, 0, 0, 0x0f, 0x05]); // rt_sigtimedwait
    for signal in [SIGTERM, SIGINT] {
        code.extend_from_slice(&[0x83, 0xf8, signal, 0x74]); // cmp eax, signal; je exit
        exit_references.push(reserve(&mut code, 1));
    }
    code.extend_from_slice(&[0x83, 0xf8, SIGCHLD, 0x75]); // cmp eax, SIGCHLD; jne wait
    jump_back(&mut code, wait);
    let reap = code.len();
    code.extend_from_slice(&[0x48, 0xc7, 0xc7, 0xff, 0xff, 0xff, 0xff]); // mov rdi, -1
    code.extend_from_slice(&[0x31, 0xf6]); // xor esi, esi
    code.extend_from_slice(&[0xba, 1, 0, 0, 0]); // mov edx, WNOHANG
    code.extend_from_slice(&[0x45, 0x31, 0xd2]); // xor r10d, r10d
    code.extend_from_slice(&[0xb8, 61, 0, 0, 0, 0x0f, 0x05]); // wait4
    code.extend_from_slice(&[0x85, 0xc0, 0x7f]); // test eax, eax; jg reap
    jump_back(&mut code, reap);
    code.push(0xeb); // jmp wait
    jump_back(&mut code, wait);
    let exit = code.len();
    code.extend_from_slice(&[0x31, 0xff]); // xor edi, edi
    code.extend_from_slice(&[0xb8, 231, 0, 0, 0, 0x0f, 0x05]); // exit_group
    let set = code.len();
    code.extend_from_slice(&[0xff; 8]);
    for at in set_references {
        let offset = (set - (at + 4)) as u32;
        code[at..at + 4].copy_from_slice(&offset.to_le_bytes());
    }
    for at in exit_references {
        code[at] = (exit - (at + 1)) as u8;
    }
    code
}

fn reserve(code: &mut Vec<u8>, bytes: usize) -> usize {
    let at = code.len();
    code.resize(at + bytes, 0);
    at
}

/// The one-byte operand of a jump to an earlier place.
fn jump_back(code: &mut Vec<u8>, target: usize) {
    let distance = target as i64 - (code.len() as i64 + 1);
    code.push(distance as i8 as u8);
}

fn aarch64() -> Vec<u8> {
    let set_wait = |register: u32, number: u32| 0xD280_0000 | (number << 5) | register; // movz x, #n
    let compare = |signal: u8| 0x7100_001F | (u32::from(signal) << 10); // cmp w0, #n
    const SVC: u32 = 0xD400_0001;
    // Places, counted in instructions.
    const WAIT: i32 = 6;
    const REAP: i32 = 18;
    const EXIT: i32 = 27;
    const SET: i32 = 30;
    let adr = |register: u32, at: i32| {
        let distance = ((SET - at) * 4) as u32;
        0x1000_0000 | ((distance & 3) << 29) | ((distance >> 2) << 5) | register
    };
    let branch_if =
        |condition: u32, at: i32, to: i32| 0x5400_0000 | ((((to - at) as u32) & 0x7_FFFF) << 5) | condition;
    let (equal, not_equal, greater) = (0, 1, 12);
    let instructions: Vec<u32> = vec![
        set_wait(0, 0), // SIG_BLOCK
        adr(1, 1),
        set_wait(2, 0),
        set_wait(3, 8),
        set_wait(8, 135), // rt_sigprocmask
        SVC,
        adr(0, WAIT),
        set_wait(1, 0),
        set_wait(2, 0),
        set_wait(3, 8),
        set_wait(8, 137), // rt_sigtimedwait
        SVC,
        compare(SIGTERM),
        branch_if(equal, 13, EXIT),
        compare(SIGINT),
        branch_if(equal, 15, EXIT),
        compare(SIGCHLD),
        branch_if(not_equal, 17, WAIT),
        0x9280_0000, // mov x0, #-1
        set_wait(1, 0),
        set_wait(2, 1), // WNOHANG
        set_wait(3, 0),
        set_wait(8, 260), // wait4
        SVC,
        compare(0),
        branch_if(greater, 25, REAP),
        0x1400_0000 | (((WAIT - 26) as u32) & 0x3FF_FFFF), // b wait
        set_wait(0, 0),
        set_wait(8, 94), // exit_group
        SVC,
        u32::MAX, // the set of all signals
        u32::MAX,
    ];
    instructions.into_iter().flat_map(u32::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_program_for_x86_64_is_these_bytes() {
        assert_eq!(
            hex(&x86_64()),
            concat!(
                "31ff",
                "488d355d000000",
                "31d2",
                "41ba08000000",
                "b80e0000000f05",
                "488d3d47000000",
                "31f631d2",
                "41ba08000000",
                "b8800000000f05",
                "83f80f7428",
                "83f8027423",
                "83f81175d9",
                "48c7c7ffffffff",
                "31f6",
                "ba01000000",
                "4531d2",
                "b83d0000000f05",
                "85c07fe4",
                "ebbb",
                "31ff",
                "b8e70000000f05",
                "ffffffffffffffff"
            )
        );
    }

    #[test]
    fn the_program_for_aarch64_names_its_own_places() {
        let code = aarch64();
        let word = |at: usize| u32::from_le_bytes(code[at * 4..at * 4 + 4].try_into().expect("four bytes"));
        assert_eq!(code.len(), 32 * 4);
        assert_eq!(word(4), 0xD280_10E8, "mov x8, #135");
        assert_eq!(word(6), 0x1000_0300, "adr x0, set: 24 instructions on");
        assert_eq!(word(13), 0x5400_01C0, "b.eq exit: 14 instructions on");
        assert_eq!(word(17), 0x54FF_FEA1, "b.ne wait: 11 instructions back");
        assert_eq!(word(25), 0x54FF_FF2C, "b.gt reap: 7 instructions back");
        assert_eq!(word(26), 0x17FF_FFEC, "b wait: 20 instructions back");
    }

    #[test]
    fn the_file_is_one_small_segment() {
        for machine in [Machine::X86_64, Machine::Aarch64] {
            let file = elf(machine);
            assert!(file.len() < 512, "{} bytes", file.len());
            assert_eq!(&file[..4], b"\x7fELF");
            let size = u64::from_le_bytes(file[96..104].try_into().expect("eight bytes"));
            assert_eq!(size, file.len() as u64);
        }
    }

    /// The real thing: it starts, ignores what it should and ends on SIGTERM and SIGINT.
    #[test]
    fn the_program_waits_and_ends_on_sigterm_and_sigint() {
        use std::os::unix::fs::PermissionsExt;
        use std::os::unix::process::ExitStatusExt;

        use nix::sys::signal::{Signal, kill};
        use nix::unistd::Pid;

        let Some(machine) = Machine::current() else {
            println!("skipped: no pause program for this processor");
            return;
        };
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pause");
        std::fs::write(&path, elf(machine)).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let mut child = std::process::Command::new(&path).spawn().expect("it starts");
            let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
            // Until the mask is in place a signal would end it as any other process.
            let status = format!("/proc/{pid}/status");
            let is_waiting = || {
                let text = std::fs::read_to_string(&status).expect("a process");
                text.contains("Name:\tpause") && text.contains("State:\tS")
            };
            while !is_waiting() {
                std::thread::yield_now();
            }
            // Signals that it does not end on are taken and dropped.
            kill(pid, Signal::SIGCHLD).expect("a signal");
            kill(pid, Signal::SIGUSR1).expect("a signal");
            kill(pid, signal).expect("a signal");
            let status = child.wait().expect("it ends");
            assert_eq!((status.code(), status.signal()), (Some(0), None), "{signal}");
        }
    }
}
