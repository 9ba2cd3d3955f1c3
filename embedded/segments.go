package embedded

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// kfake writes a batch into a segment, then its entry into the segment's index, and answers after both. The index alone
// says whether a batch belongs to a transaction. A kill between the two leaves a batch without an entry: it would count as
// committed whatever became of its transaction, and every later entry would be taken for the batch before its own.

const (
	segmentSuffix     = ".dat"
	indexSuffix       = ".idx"
	indexEntryBytes   = 15 // of kfake's persisted form
	batchHeadBytes    = 12 // of a record batch: its first offset and how long the rest is
	batchLengthOffset = 8
)

// dropUnindexed cuts off what the process that was killed wrote last and did not answer: batches that are not whole, or
// have no entry in the index, and entries that are not whole.
func dropUnindexed(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // nothing was ever written
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(path, segmentSuffix) {
			return err
		}
		segment, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		index := strings.TrimSuffix(path, segmentSuffix) + indexSuffix
		entries := int64(0)
		if info, err := os.Stat(index); err == nil {
			entries = info.Size() / indexEntryBytes
		} else if !os.IsNotExist(err) {
			return err
		}
		end, batches := indexed(segment, entries)
		if err := cut(path, end); err != nil {
			return err
		}
		return cut(index, batches*indexEntryBytes)
	})
}

// indexed is where the last of at most n whole batches ends, and how many there are.
func indexed(segment []byte, n int64) (end, batches int64) {
	for batches < n && end+batchHeadBytes <= int64(len(segment)) {
		next := end + batchHeadBytes + int64(binary.BigEndian.Uint32(segment[end+batchLengthOffset:]))
		if next > int64(len(segment)) {
			break
		}
		end, batches = next, batches+1
	}
	return end, batches
}

// cut makes a file no longer than size.
func cut(path string, size int64) error {
	info, err := os.Stat(path)
	if os.IsNotExist(err) || err == nil && info.Size() <= size {
		return nil
	}
	if err == nil {
		err = os.Truncate(path, size)
	}
	if err != nil {
		return fmt.Errorf("cut off what was not finished in %s: %w", path, err)
	}
	return nil
}
