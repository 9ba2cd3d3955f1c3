package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/pipeline/store/redisstore"
)

const checkOwner = "the checker, after the end"

// store holds what Redis keeps against the changelogs, byte by byte. It claims the partitions: nobody else is there.
func (c *checker) store(ctx context.Context, client *redis.Client, images map[stageSpot]map[string][]byte) error {
	s := redisstore.New(client)
	for at, want := range images {
		part := s.Partition(store.ID{Stage: at.stage, Partition: at.partition})
		claim, err := part.Claim(ctx, checkOwner)
		if err != nil {
			return err
		}
		where := fmt.Sprintf("%s/%d", at.stage, at.partition)
		m := c.counts[at]
		if m.raw == nil && claim.Meta == nil {
			continue // nothing was ever committed here
		}
		if !bytes.Equal(claim.Meta, m.raw) {
			c.found.add("redis", where, "its meta record is not the changelog's newest:\n  want %s\n  got  %s", m.raw, claim.Meta)
		}
		log := spot{changelogOf(at.stage), at.partition}
		if last, end := c.past.last(log), c.past.ends[log]; claim.Applied < last || claim.Applied > end {
			c.found.add("redis", where, "applied up to %d; the changelog's records reach to %d, its end is %d", claim.Applied, last, end)
		}
		armed := 0
		for chunk := range slices.Chunk(slices.Sorted(maps.Keys(want)), store.MaxKeys) {
			got, err := part.Read(ctx, claim.Fence, chunk)
			if err != nil {
				c.found.add("redis", where, "the images cannot be read: %v", err)
				break
			}
			for i, key := range chunk {
				if !bytes.Equal(got[i], want[key]) {
					c.found.add("redis", mask(key), "of %s: %d bytes, the changelog's image has %d others", where, len(got[i]), len(want[key]))
				}
				if _, deadline, err := openImage(want[key]); err == nil && deadline != 0 {
					armed++
				}
			}
		}
		if _, n, err := part.Deadlines(ctx, claim.Fence, math.MinInt64, math.MaxInt64, 1); err != nil || int(n) != armed {
			c.found.add("redis", where, "%d timers are armed (%v), the images have %d", n, err, armed)
		}
		if err := c.extraImages(ctx, client, at, where, len(want)); err != nil {
			return err
		}
	}
	return nil
}

func changelogOf(stage string) string {
	for _, s := range stages {
		if s.name == stage {
			return s.changelog
		}
	}
	return ""
}

// extraImages: Redis holds no image that the changelog does not, and no second generation.
func (c *checker) extraImages(ctx context.Context, client *redis.Client, at stageSpot, where string, want int) error {
	var total int64
	var names []string
	keys, err := client.Keys(ctx, fmt.Sprintf("{%s:%d}:*", at.stage, at.partition)).Result()
	if err != nil {
		return err
	}
	for _, key := range keys {
		if strings.HasSuffix(key, ":images") {
			n, err := client.HLen(ctx, key).Result()
			if err != nil {
				return err
			}
			total, names = total+n, append(names, key)
		}
	}
	if int(total) != want {
		c.found.add("redis", where, "%d images in %v, the changelog has %d", total, names, want)
	}
	return nil
}
