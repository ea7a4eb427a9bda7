//! Datagrams that the kernel dropped because nobody read them in time: only its own table counts
//! them.

use std::os::fd::AsFd;

/// Where the kernel lists its UDP sockets. Below the process itself, not in `/proc/net`: that is
/// hidden under `ProcSubset=pid`, as the delivered unit has it.
const TABLES: [&str; 2] = ["/proc/self/net/udp", "/proc/self/net/udp6"];

/// How many datagrams the kernel has dropped on a socket since it was opened; none when it does not
/// say.
pub(super) fn dropped(socket: &impl AsFd) -> Option<u64> {
    let inode = rustix::fs::fstat(socket).ok()?.st_ino;
    TABLES
        .iter()
        .find_map(|table| find_drops(&std::fs::read_to_string(table).ok()?, inode))
}

/// The last column of the line of that inode.
fn find_drops(table: &str, inode: u64) -> Option<u64> {
    let inode = inode.to_string();
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        (columns.get(9) == Some(&inode.as_str())).then(|| columns.get(12)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn what_the_kernel_drops_is_counted() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        assert_eq!(dropped(&socket), Some(0));
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..1000 {
            sender.send_to(&[b'x'; 512], at).unwrap();
        }

        socket.set_nonblocking(true).unwrap();
        let mut held = 0;
        while socket.recv(&mut [0; 512]).is_ok() {
            held += 1;
        }

        assert_eq!(dropped(&socket), Some(1000 - held));
        assert!(held < 1000);
    }
}
