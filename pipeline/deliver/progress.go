package deliver

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Kafka keeps at most 4,096 bytes of metadata beside an offset. Base64 leaves three quarters of them. What is longer
// goes into a record on crm.progress, in the same transaction, and the metadata says where that is.
const (
	metadataBytesMax = 4096
	textBytesMax     = 3000 // of progress as metadata, where it can be a record instead
	recordBytesMax   = 512 << 10
	progressPrefix   = "ts1."
	topicPrefix      = "ts2." // the same behind the topic's id
	pointerPrefix    = "ts3." // topic's id, owner, transaction, and the offset of the record
	prefixFamily     = "ts"
	topicIDBytes     = 16
	headerBytesMax   = topicIDBytes + 1 + 2*binary.MaxVarintLen64
	payloadBytesMax  = (metadataBytesMax-len(progressPrefix))/4*3 - headerBytesMax - binary.MaxVarintLen64
	recordPayloadMax = recordBytesMax - headerBytesMax - binary.MaxVarintLen64
	offsetsMax       = 1 << 40 // that one progress may speak of; more is a broken record
)

// progress is what a deliverer knows beyond the committed offset, which is the oldest unfinished command.
type progress struct {
	// topicID is Kafka's id of the topic that the offsets are of: those of one mean nothing in another of its name. Zero:
	// not known.
	topicID    [topicIDBytes]byte
	owner, seq uint64 // who wrote it, and which of its transactions it was
	marks      marks  // from the committed offset on
	// recorded: the marks are in the record at this offset of crm.progress.
	recorded bool
	record   int64
}

// errNewer says that a version of this program wrote an offset's metadata that this one can't read.
var errNewer = errors.New("delivery progress of another version of tillstream")

// errProgress says that an offset's metadata is not ours.
var errProgress = errors.New("offset metadata is no delivery progress")

// body is p without its topic: run lengths, or two bits for each offset, whichever is shorter.
func (p progress) body() []byte {
	header := binary.AppendUvarint(binary.AppendUvarint(nil, p.owner), p.seq)
	payload, kind := p.lengths(), byte(0)
	if bits := p.bitmap(len(payload)); bits != nil && len(bits) < len(payload) {
		payload, kind = bits, 1
	}
	return append(append(header, kind), payload...)
}

// encode writes p as text for an offset commit.
func (p progress) encode() (string, error) {
	if p.recorded {
		b := binary.AppendUvarint(binary.AppendUvarint(p.topicID[:], p.owner), p.seq)
		return pointerPrefix + base64.RawURLEncoding.EncodeToString(binary.AppendUvarint(b, uint64(p.record))), nil
	}
	body := p.body()
	text := progressPrefix + base64.RawURLEncoding.EncodeToString(body)
	if p.topicID != [topicIDBytes]byte{} {
		// What was written without an id may leave no room for one.
		with := topicPrefix + base64.RawURLEncoding.EncodeToString(append(p.topicID[:], body...))
		if len(with) <= metadataBytesMax {
			return with, nil
		}
	}
	if len(text) > metadataBytesMax {
		return "", fmt.Errorf("delivery progress needs %d bytes of the %d that Kafka keeps", len(text), metadataBytesMax)
	}
	return text, nil
}

// encodeRecord writes p for a record of crm.progress.
func (p progress) encodeRecord() ([]byte, error) {
	b := append(p.topicID[:], p.body()...)
	if len(b) > recordBytesMax {
		return nil, fmt.Errorf("delivery progress needs %d bytes of the %d that a record of it may have", len(b), recordBytesMax)
	}
	return b, nil
}

// decodeRecord reads what encodeRecord wrote.
func decodeRecord(b []byte) (progress, error) {
	if len(b) > recordBytesMax {
		return progress{}, errProgress
	}
	return decodeBody(b, true)
}

func (p progress) lengths() []byte {
	var b []byte
	for r := range p.marks.runs {
		b = binary.AppendUvarint(b, uint64(r.n)<<bitsPerOffset|uint64(r.stand))
	}
	return b
}

// bitmap returns nil where it would be no shorter than atMost.
func (p progress) bitmap(atMost int) []byte {
	from, _ := p.marks.from()
	n := p.marks.end() - from
	if n/4 >= int64(atMost) {
		return nil
	}
	b := binary.AppendUvarint(nil, uint64(n))
	bits := make([]byte, (n+3)/4)
	var i int64
	for r := range p.marks.runs {
		for range r.n {
			bits[i/4] |= byte(r.stand) << (i % 4 * bitsPerOffset)
			i++
		}
	}
	return append(b, bits...)
}

// decodeProgress reads what encode wrote; errNewer for what a later version did, errProgress for anything else. The
// marks begin at offset 0.
func decodeProgress(text string) (progress, error) {
	prefix, body := "", ""
	for _, known := range []string{progressPrefix, topicPrefix, pointerPrefix} {
		if rest, ok := strings.CutPrefix(text, known); ok {
			prefix, body = known, rest
		}
	}
	switch {
	case len(text) > metadataBytesMax:
		return progress{}, errProgress
	case prefix == "" && later(text):
		return progress{}, errNewer
	case prefix == "":
		return progress{}, errProgress
	}
	b, err := base64.RawURLEncoding.DecodeString(body)
	switch {
	case err != nil:
		return progress{}, fmt.Errorf("%w: %w", errProgress, err)
	case prefix == pointerPrefix:
		return decodePointer(b)
	}
	return decodeBody(b, prefix == topicPrefix)
}

func decodePointer(b []byte) (progress, error) {
	p := progress{recorded: true}
	b, err := p.header(b, true)
	if err != nil {
		return progress{}, err
	}
	at, n := binary.Uvarint(b)
	if n <= 0 || n != len(b) || at > 1<<62 {
		return progress{}, errProgress
	}
	p.record = int64(at)
	return p, nil
}

// header reads what is before the marks, and returns the rest.
func (p *progress) header(b []byte, withID bool) ([]byte, error) {
	if withID {
		if len(b) < topicIDBytes {
			return nil, errProgress
		}
		p.topicID, b = [topicIDBytes]byte(b), b[topicIDBytes:]
	}
	for _, into := range []*uint64{&p.owner, &p.seq} {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errProgress
		}
		*into, b = v, b[n:]
	}
	return b, nil
}

func decodeBody(b []byte, withID bool) (progress, error) {
	var p progress
	b, err := p.header(b, withID)
	if err != nil {
		return progress{}, err
	}
	if len(b) == 0 {
		return progress{}, errProgress
	}
	kind, b := b[0], b[1:]
	switch kind {
	case 0:
		p.marks, err = readLengths(b)
	case 1:
		p.marks, err = readBitmap(b)
	default:
		err = errProgress
	}
	if err != nil {
		return progress{}, err
	}
	return p, nil
}

// later reports whether text begins as a later version's would: the family, a number, a dot.
func later(text string) bool {
	number, ok := strings.CutPrefix(text, prefixFamily)
	digits, _, dot := strings.Cut(number, ".")
	return ok && dot && digits != "" && strings.Trim(digits, "0123456789") == ""
}

func readLengths(b []byte) (marks, error) {
	var m marks
	var total uint64
	for len(b) > 0 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return marks{}, errProgress
		}
		b = b[n:]
		s, length := stand(v&3), v>>bitsPerOffset
		if total += length; s > intended || length == 0 || length > offsetsMax || total > offsetsMax {
			return marks{}, errProgress
		}
		m.add(0, int64(length), s)
	}
	return m, nil
}

func readBitmap(b []byte) (marks, error) {
	count, n := binary.Uvarint(b)
	if n <= 0 || count > uint64(len(b)-n)*4 || (count+3)/4 != uint64(len(b)-n) {
		return marks{}, errProgress
	}
	b = b[n:]
	var m marks
	for i := range count {
		s := stand(b[i/4] >> (i % 4 * bitsPerOffset) & 3)
		if s > intended {
			return marks{}, errProgress
		}
		m.add(0, 1, s)
	}
	return m, nil
}
