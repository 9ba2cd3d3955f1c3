package main

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
)

// pairsMax bounds the fields of one command.
const pairsMax = 256

// redisConn writes states by plain commands, a transaction's in one pipeline.
type redisConn struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	sent int
}

func dialRedis(addr string) (*redisConn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &redisConn{conn: conn, in: bufio.NewReader(conn)}, nil
}

// write stores what a transaction changed: the images, the deadlines, and a mark of the transaction.
func (c *redisConn) write(parts []*part) error {
	c.out, c.sent = c.out[:0], 0
	for _, p := range parts {
		tag := "{bench:" + strconv.Itoa(int(p.number)) + "}:"
		var images, arm, disarm []string
		for key, s := range p.changed {
			images = append(images, key, string(s.Encode()))
			if s.Deadline != 0 {
				arm = append(arm, strconv.FormatInt(s.Deadline, 10), key)
			} else {
				disarm = append(disarm, key)
			}
		}
		c.commands("HSET", tag+"images", images)
		c.commands("ZADD", tag+"timers", arm)
		c.commands("ZREM", tag+"timers", disarm)
		c.commands("INCR", tag+"applied", nil)
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return fmt.Errorf("write redis: %w", err)
	}
	for range c.sent {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("read redis: %w", err)
		}
		if line[0] != ':' {
			return fmt.Errorf("redis answered %q", line)
		}
	}
	return nil
}

// commands appends name with key and args, cut into several where they are many.
func (c *redisConn) commands(name, key string, args []string) {
	for len(args) > 0 || name == "INCR" {
		n := min(len(args), 2*pairsMax)
		c.out = append(c.out, '*')
		c.out = strconv.AppendInt(c.out, int64(2+n), 10)
		c.out = append(c.out, '\r', '\n')
		c.bulk(name)
		c.bulk(key)
		for _, a := range args[:n] {
			c.bulk(a)
		}
		c.sent++
		if args = args[n:]; len(args) == 0 {
			return
		}
	}
}

func (c *redisConn) bulk(s string) {
	c.out = append(c.out, '$')
	c.out = strconv.AppendInt(c.out, int64(len(s)), 10)
	c.out = append(c.out, '\r', '\n')
	c.out = append(c.out, s...)
	c.out = append(c.out, '\r', '\n')
}
