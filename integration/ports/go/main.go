// Echoes bytes with ASCII a-z in upper case: port-go PORT.
//
// A goroutine serves one client: it reads, writes all of the answer, and reads on. So nothing is
// read while output is pending, and a client's end is seen only when it has its answers.
// The runtime turns readiness into calls that seem to block; only the stop needs code of its own.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

const (
	bufferBytes = 64 << 10
	retry       = 100 * time.Millisecond
	drainTime   = 5 * time.Second
)

// buffers are reused: connections come and go faster than garbage is collected.
var buffers = sync.Pool{New: func() any { return new([bufferBytes]byte) }}

type server struct {
	listener *net.TCPListener
	served   sync.WaitGroup

	mutex   sync.Mutex
	clients map[*net.TCPConn]struct{}
	end     time.Time // of the drain; zero before it
}

func main() {
	port, err := 0, errors.New("no port")
	if len(os.Args) == 2 {
		port, err = strconv.Atoi(os.Args[1])
	}
	if err != nil || port < 0 || port > 65535 {
		fmt.Fprintln(os.Stderr, "port-go: expected one argument, a port from 0 to 65535")
		os.Exit(2)
	}
	signal.Ignore(syscall.SIGPIPE) // it would end Go if stdout or stderr is a pipe without a reader
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT) // before anybody can connect
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		fmt.Fprintln(os.Stderr, "port-go: cannot listen:", err)
		os.Exit(1)
	}
	s := &server{listener: listener, clients: map[*net.TCPConn]struct{}{}}
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		s.accept()
	}()
	fmt.Println("listening on", listener.Addr())
	<-stop
	listener.SetDeadline(time.Now()) // wakes accept,
	<-accepting                      // which returns after its last connection
	s.drain()
	s.served.Wait()
}

// accept accepts clients until the stop signal.
func (s *server) accept() {
	for {
		conn, err := s.listener.AcceptTCP()
		switch {
		case err == nil:
			s.welcome(conn)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return
		default: // descriptors may be exhausted: trying at once would spin
			time.Sleep(retry)
		}
	}
}

func (s *server) welcome(conn *net.TCPConn) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.clients[conn] = struct{}{}
	s.served.Add(1)
	s.warn(conn)
	go func() {
		defer s.served.Done()
		s.serve(conn)
		s.mutex.Lock()
		defer s.mutex.Unlock()
		delete(s.clients, conn)
		conn.Close()
	}()
}

// serve returns when the connection is to be closed; TCP_NODELAY is Go's default.
func (s *server) serve(conn *net.TCPConn) {
	buffer := buffers.Get().(*[bufferBytes]byte)
	defer buffers.Put(buffer)
	control(conn, func(fd int) error { // unread counts right only if urgent data is in line
		return syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_OOBINLINE, 1)
	})
	err := echo(conn, conn, buffer[:])
	// Here the close is decided. No error: a read of 0 bytes, the client's end. Any error but one is
	// a reset or another failure. The exception is our own deadline, after the stop signal.
	if !errors.Is(err, os.ErrDeadlineExceeded) || conn.SetReadDeadline(s.deadline()) != nil {
		return
	}
	if echo(conn, io.LimitReader(conn, unread(conn)), buffer[:]) != nil || conn.CloseWrite() != nil {
		return
	}
	// Closing with bytes unread sends RST, which destroys what the client has not read yet.
	for {
		if _, err := conn.Read(buffer[:]); err != nil {
			return
		}
	}
}

// echo answers all that comes from the reader, to its end.
func echo(to io.Writer, from io.Reader, buffer []byte) error {
	for {
		count, err := from.Read(buffer)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		upper(buffer[:count])
		if _, err := to.Write(buffer[:count]); err != nil {
			return err
		}
	}
}

// upper maps bytes; the package bytes would map text.
func upper(data []byte) {
	for i, b := range data {
		if 'a' <= b && b <= 'z' {
			data[i] = b - 'a' + 'A'
		}
	}
}

// drain accepts the backlog, refuses new connections, and stops all clients.
func (s *server) drain() {
	for _, conn := range waiting(s.listener) {
		s.welcome(conn)
	}
	s.listener.Close()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.end = time.Now().Add(drainTime)
	for conn := range s.clients {
		s.warn(conn)
	}
}

func (s *server) deadline() time.Time {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.end
}

// warn interrupts a read after the stop signal, and bounds every write. The mutex is held.
func (s *server) warn(conn *net.TCPConn) {
	if !s.end.IsZero() {
		conn.SetReadDeadline(time.Now())
		conn.SetWriteDeadline(s.end)
	}
}

// waiting accepts the backlog without blocking, unlike AcceptTCP.
func waiting(listener *net.TCPListener) (found []*net.TCPConn) {
	control(listener, func(fd int) error {
		for {
			number, _, err := syscall.Accept4(fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
			if err == syscall.EINTR || err == syscall.ECONNABORTED || err == syscall.EPROTO {
				continue
			}
			if err != nil {
				return err
			}
			file := os.NewFile(uintptr(number), "")
			if conn, err := net.FileConn(file); err == nil { // a duplicate
				found = append(found, conn.(*net.TCPConn))
			}
			file.Close()
		}
	})
	return found
}

// unread is the number of bytes that can be read now.
func unread(conn *net.TCPConn) int64 {
	var count int32
	control(conn, func(fd int) error {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.TIOCINQ,
			uintptr(unsafe.Pointer(&count)))
		if errno != 0 {
			return errno // and count stays 0
		}
		return nil
	})
	return int64(count)
}

// control does something with a descriptor that Go has no method for.
func control(conn syscall.Conn, do func(fd int) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) { err = do(int(fd)) })
	if failed != nil {
		return failed
	}
	return err
}
