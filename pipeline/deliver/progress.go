package deliver

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Kafka keeps at most 4,096 bytes of metadata beside an offset. Base64 leaves three quarters of them.
const (
	metadataBytesMax = 4096
	progressPrefix   = "ts1."
	topicPrefix      = "ts2." // the same behind the topic's id
	prefixFamily     = "ts"
	topicIDBytes     = 16
	headerBytesMax   = topicIDBytes + 1 + 2*binary.MaxVarintLen64
	payloadBytesMax  = (metadataBytesMax-len(progressPrefix))/4*3 - headerBytesMax - binary.MaxVarintLen64
	offsetsMax       = 1 << 40 // that one progress may speak of; more is a broken record
	bitsPerOffset    = 2
)

// stand is how far a command is.
type stand byte

const (
	open     stand = iota // to be done
	finished              // its final delivery is committed
	intended              // an effect whose intent is committed: it may have been sent
)

// run is a number of consecutive offsets of one stand.
type run struct {
	stand stand
	n     int64
}

// progress is what a deliverer knows beyond the committed offset, which is the oldest unfinished command.
type progress struct {
	// topicID is Kafka's id of the topic that the offsets are of: those of one mean nothing in another of its name. Zero:
	// not known.
	topicID    [topicIDBytes]byte
	owner, seq uint64 // who wrote it, and which of its transactions it was
	runs       []run  // from the committed offset on
}

// errNewer says that a version of this program wrote an offset's metadata that this one can't read.
var errNewer = errors.New("delivery progress of another version of tillstream")

// errProgress says that an offset's metadata is not ours.
var errProgress = errors.New("offset metadata is no delivery progress")

// encode writes p as text for an offset commit: run lengths, or two bits for each offset, whichever is shorter.
func (p progress) encode() (string, error) {
	header := binary.AppendUvarint(binary.AppendUvarint(nil, p.owner), p.seq)
	payload, kind := p.lengths(), byte(0)
	if bits := p.bitmap(len(payload)); bits != nil && len(bits) < len(payload) {
		payload, kind = bits, 1
	}
	body := append(append(header, kind), payload...)
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

func (p progress) lengths() []byte {
	var b []byte
	for _, r := range p.runs {
		b = binary.AppendUvarint(b, uint64(r.n)<<bitsPerOffset|uint64(r.stand))
	}
	return b
}

// bitmap returns nil where it would be no shorter than atMost.
func (p progress) bitmap(atMost int) []byte {
	var n int64
	for _, r := range p.runs {
		n += r.n
	}
	if n/4 >= int64(atMost) {
		return nil
	}
	b := binary.AppendUvarint(nil, uint64(n))
	bits := make([]byte, (n+3)/4)
	var i int64
	for _, r := range p.runs {
		for range r.n {
			bits[i/4] |= byte(r.stand) << (i % 4 * bitsPerOffset)
			i++
		}
	}
	return append(b, bits...)
}

// decodeProgress reads what encode wrote; errNewer for what a later version did, errProgress for anything else.
func decodeProgress(text string) (progress, error) {
	var p progress
	body, ok := strings.CutPrefix(text, progressPrefix)
	withID := false
	if !ok {
		body, withID = strings.CutPrefix(text, topicPrefix)
	}
	switch {
	case len(text) > metadataBytesMax:
		return p, errProgress
	case !ok && !withID && later(text):
		return p, errNewer
	case !ok && !withID:
		return p, errProgress
	}
	b, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return p, fmt.Errorf("%w: %w", errProgress, err)
	}
	if withID {
		if len(b) < topicIDBytes {
			return p, errProgress
		}
		p.topicID, b = [topicIDBytes]byte(b), b[topicIDBytes:]
	}
	for _, into := range []*uint64{&p.owner, &p.seq} {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return progress{}, errProgress
		}
		*into, b = v, b[n:]
	}
	if len(b) == 0 {
		return progress{}, errProgress
	}
	kind, b := b[0], b[1:]
	switch kind {
	case 0:
		p.runs, err = readLengths(b)
	case 1:
		p.runs, err = readBitmap(b)
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

func readLengths(b []byte) ([]run, error) {
	var runs []run
	var total uint64
	for len(b) > 0 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errProgress
		}
		b = b[n:]
		s, length := stand(v&3), v>>bitsPerOffset
		if total += length; s > intended || length == 0 || length > offsetsMax || total > offsetsMax {
			return nil, errProgress
		}
		runs = appendRun(runs, s, int64(length))
	}
	return runs, nil
}

func readBitmap(b []byte) ([]run, error) {
	count, n := binary.Uvarint(b)
	if n <= 0 || count > uint64(len(b)-n)*4 || (count+3)/4 != uint64(len(b)-n) {
		return nil, errProgress
	}
	b = b[n:]
	var runs []run
	for i := range count {
		s := stand(b[i/4] >> (i % 4 * bitsPerOffset) & 3)
		if s > intended {
			return nil, errProgress
		}
		runs = appendRun(runs, s, 1)
	}
	return runs, nil
}

// appendRun adds n offsets and joins them to a last run of the same stand.
func appendRun(runs []run, s stand, n int64) []run {
	if n <= 0 {
		return runs
	}
	if k := len(runs); k > 0 && runs[k-1].stand == s {
		runs[k-1].n += n
		return runs
	}
	return append(runs, run{s, n})
}

// fits reports whether every progress that unfinished commands within span offsets can ever come to has room. Finishing
// one never needs more: finished neighbours join.
func fits(unfinished int, span int64) bool {
	if (span+3)/4 <= int64(payloadBytesMax-binary.MaxVarintLen64) {
		return true
	}
	longest := len(binary.AppendUvarint(nil, uint64(span)<<bitsPerOffset|3))
	return unfinished+(unfinished+1)*longest <= payloadBytesMax
}
