package kafka

import "github.com/twmb/franz-go/pkg/kgo"

var keyPartitioner = kgo.StickyKeyPartitioner(nil).ForTopic("")

// Partition is the partition of key among n: murmur2 as in the Java clients and in kgo's default partitioner, so that
// topics with the same number of partitions keep one key in one number. An empty key hashes like any other.
func Partition(key []byte, n int32) int32 {
	if key == nil {
		key = []byte{}
	}
	return PartitionOf(&kgo.Record{Key: key}, n)
}

// PartitionOf is the partition of a record by its key, which must not be nil.
func PartitionOf(r *kgo.Record, n int32) int32 { return int32(keyPartitioner.Partition(r, int(n))) }
