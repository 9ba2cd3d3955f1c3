package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// EndTxn is the key of the request that ends a transaction.
const EndTxn = 26

// Request is the header of a request, and of an EndTxn what it asks for.
type Request struct {
	Key, Version  int16
	Correlation   int32
	ClientID      string
	Transactional string // EndTxn: the transactional id
	Commit        bool   // EndTxn: commit, not abort
}

var errShort = errors.New("a request ends within its header")

func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// ParseRequest reads a request without its length. An EndTxn whose body it does not understand is an error; other
// bodies are not looked at.
func ParseRequest(b []byte) (Request, error) {
	if len(b) < 8 {
		return Request{}, errShort
	}
	r := Request{Key: int16(binary.BigEndian.Uint16(b)), Version: int16(binary.BigEndian.Uint16(b[2:])), Correlation: int32(be32(b[4:]))}
	rest := b[8:]
	if len(rest) < 2 {
		return r, nil // header version 0: no client id
	}
	n := int(int16(binary.BigEndian.Uint16(rest)))
	rest = rest[2:]
	if n > len(rest) {
		return r, errShort
	}
	if n > 0 {
		r.ClientID, rest = string(rest[:n]), rest[n:]
	}
	if r.Key != EndTxn {
		return r, nil
	}
	req := kmsg.NewPtrEndTxnRequest()
	req.SetVersion(r.Version)
	if req.IsFlexible() {
		var err error
		if rest, err = skipTags(rest); err != nil {
			return r, err
		}
	}
	if err := req.ReadFrom(rest); err != nil {
		return r, fmt.Errorf("an EndTxn of version %d: %w", r.Version, err)
	}
	r.Transactional, r.Commit = req.TransactionalID, req.Commit
	return r, nil
}

// skipTags skips the tagged fields of a flexible header (KIP-482).
func skipTags(b []byte) ([]byte, error) {
	count, n := binary.Uvarint(b)
	if n <= 0 || count > uint64(len(b)) {
		return nil, errShort
	}
	b = b[n:]
	for range count {
		_, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errShort
		}
		b = b[n:]
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, errShort
		}
		b = b[n+int(size):]
	}
	return b, nil
}

func correlationOf(answer []byte) int32 { return int32(be32(answer)) }

// answerCode is the error code of an EndTxn's answer, -1 where it cannot be read.
func answerCode(r Request, answer []byte) int16 {
	resp := kmsg.NewPtrEndTxnResponse()
	resp.SetVersion(r.Version)
	rest := answer[4:]
	if resp.IsFlexible() {
		var err error
		if rest, err = skipTags(rest); err != nil {
			return -1
		}
	}
	if r.Key != EndTxn || resp.ReadFrom(rest) != nil {
		return -1
	}
	return resp.ErrorCode
}
