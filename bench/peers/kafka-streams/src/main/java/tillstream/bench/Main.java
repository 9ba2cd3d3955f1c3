package tillstream.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.state.KeyValueBytesStoreSupplier;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * Runs the benchmark's job on Kafka Streams until the input is read to the end that it had at the start, and prints one
 * line of JSON. Settings are arguments of the form name=value; see {@link #DEFAULTS}.
 */
public final class Main {
    private static final Map<String, String> DEFAULTS = new HashMap<>();

    static {
        DEFAULTS.put("brokers", "localhost:9092");
        DEFAULTS.put("input", "bench.input");
        DEFAULTS.put("output", "bench.output");
        DEFAULTS.put("application", "bench-kafka-streams");
        DEFAULTS.put("dir", System.getProperty("java.io.tmpdir"));
        DEFAULTS.put("store", "memory"); // or rocksdb
        DEFAULTS.put("timers", "memory"); // or store
        DEFAULTS.put("check-seconds", "60"); // of stream time, between two looks for due time-outs
        DEFAULTS.put("commit-ms", "1000");
        DEFAULTS.put("cache-mb", "0"); // of record cache; 0: none
        DEFAULTS.put("threads", "2");
        DEFAULTS.put("poll-records", "4000");
        DEFAULTS.put("buffered-records", "4000");
        DEFAULTS.put("linger-ms", "100");
        DEFAULTS.put("batch-bytes", "524288");
        DEFAULTS.put("fetch-min-bytes", "262144");
        DEFAULTS.put("compression", "lz4");
    }

    private final Map<String, String> settings = new HashMap<>(DEFAULTS);

    public static void main(String[] args) throws Exception {
        Main main = new Main();
        for (String arg : args) {
            int cut = arg.indexOf('=');
            if (cut < 0 || !DEFAULTS.containsKey(arg.substring(0, cut))) {
                System.err.println("unknown argument " + arg + "; known: " + DEFAULTS.keySet());
                System.exit(2);
            }
            main.settings.put(arg.substring(0, cut), arg.substring(cut + 1));
        }
        main.run();
    }

    private String text(String name) {
        return settings.get(name);
    }

    private int number(String name) {
        return Integer.parseInt(text(name));
    }

    private void run() throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", text("brokers")))) {
            Map<TopicPartition, Long> ends = ends(admin);
            Map<Integer, Long> byPartition = new HashMap<>();
            ends.forEach((tp, end) -> byPartition.put(tp.partition(), end));
            Progress progress = new Progress(byPartition);
            KafkaStreams streams = new KafkaStreams(topology(progress), config());
            streams.setUncaughtExceptionHandler(e -> {
                e.printStackTrace();
                Runtime.getRuntime().halt(1);
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            streams.start();
            progress.await();
            awaitCommit(admin, ends);
            double committed = progress.secondsUntilNow();
            long events = ends.values().stream().mapToLong(Long::longValue).sum();
            String report = String.format(Locale.ROOT,
                "{\"program\":\"kafka-streams-%s\",\"events\":%d,\"seconds\":%.3f,\"events_per_second\":%.0f,\"peak_rss_mb\":%.1f,"
                    + "\"cpu_seconds\":%.2f,\"extra\":{\"seconds_until_committed\":%.3f}}",
                text("store"), events, progress.seconds(), events / progress.seconds(), peakRssMb(), progress.cpuSeconds(), committed);
            streams.close(Duration.ofSeconds(30));
            System.out.println(report);
        }
    }

    private Map<TopicPartition, Long> ends(Admin admin) throws ExecutionException, InterruptedException {
        String input = text("input");
        Map<TopicPartition, OffsetSpec> ask = new HashMap<>();
        admin.describeTopics(Set.of(input)).allTopicNames().get().get(input).partitions()
            .forEach(p -> ask.put(new TopicPartition(input, p.partition()), OffsetSpec.latest()));
        Map<TopicPartition, Long> ends = new HashMap<>();
        admin.listOffsets(ask).all().get().forEach((tp, info) -> ends.put(tp, info.offset()));
        return ends;
    }

    private void awaitCommit(Admin admin, Map<TopicPartition, Long> ends) throws ExecutionException, InterruptedException {
        Set<TopicPartition> left = new HashSet<>(ends.keySet());
        while (!left.isEmpty()) {
            admin.listConsumerGroupOffsets(text("application")).partitionsToOffsetAndMetadata().get()
                .forEach((tp, o) -> {
                    if (o != null && o.offset() >= ends.getOrDefault(tp, Long.MAX_VALUE)) {
                        left.remove(tp);
                    }
                });
            if (!left.isEmpty()) {
                Thread.sleep(20);
            }
        }
    }

    private Topology topology(Progress progress) {
        boolean timersInStore = text("timers").equals("store");
        Duration check = Duration.ofSeconds(number("check-seconds"));
        Topology t = new Topology();
        t.addSource("in", new ByteArrayDeserializer(), new ByteArrayDeserializer(), text("input"));
        t.addProcessor("job", () -> new OrderJob(timersInStore, check, progress), "in");
        t.addStateStore(store(OrderJob.ORDERS), "job");
        if (timersInStore) {
            t.addStateStore(store(OrderJob.TIMERS), "job");
        }
        t.addSink("out", text("output"), new ByteArraySerializer(), new ByteArraySerializer(), "job");
        return t;
    }

    private StoreBuilder<KeyValueStore<byte[], byte[]>> store(String name) {
        KeyValueBytesStoreSupplier supplier =
            text("store").equals("rocksdb") ? Stores.persistentKeyValueStore(name) : Stores.inMemoryKeyValueStore(name);
        StoreBuilder<KeyValueStore<byte[], byte[]>> b = Stores.keyValueStoreBuilder(supplier, Serdes.ByteArray(), Serdes.ByteArray());
        return number("cache-mb") > 0 ? b.withCachingEnabled() : b.withCachingDisabled();
    }

    private Properties config() {
        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, text("application"));
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, text("brokers"));
        p.put(StreamsConfig.STATE_DIR_CONFIG, text("dir"));
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, number("threads"));
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, number("commit-ms"));
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, (long) number("cache-mb") << 20);
        p.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, number("buffered-records"));
        p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        p.put(StreamsConfig.ROCKSDB_CONFIG_SETTER_CLASS_CONFIG, RocksTuning.class);
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), number("poll-records"));
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.FETCH_MIN_BYTES_CONFIG), number("fetch-min-bytes"));
        p.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), number("linger-ms"));
        p.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), number("batch-bytes"));
        p.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), text("compression"));
        return p;
    }

    private static double peakRssMb() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM:")) {
                return Double.parseDouble(line.replaceAll("[^0-9]", "")) / 1024;
            }
        }
        return 0;
    }
}
