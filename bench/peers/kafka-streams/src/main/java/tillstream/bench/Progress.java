package tillstream.bench;

import java.lang.management.ManagementFactory;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;

/** When the first record was processed, and when the last one of every partition was. */
final class Progress {
    private final long[] lastOffset;
    private final AtomicInteger left;
    private final CountDownLatch done = new CountDownLatch(1);
    private volatile boolean running;
    private long beganNanos, beganCpu, endedNanos, endedCpu;

    Progress(Map<Integer, Long> ends) {
        lastOffset = new long[ends.keySet().stream().mapToInt(p -> p + 1).max().orElse(0)];
        ends.forEach((p, end) -> lastOffset[p] = end - 1);
        left = new AtomicInteger(lastOffset.length);
    }

    void began() {
        if (!running) {
            start();
        }
    }

    private synchronized void start() {
        if (!running) {
            beganNanos = System.nanoTime();
            beganCpu = cpuNanos();
            running = true;
        }
    }

    void processed(int partition, long offset) {
        if (offset == lastOffset[partition] && left.decrementAndGet() == 0) {
            endedNanos = System.nanoTime();
            endedCpu = cpuNanos();
            done.countDown();
        }
    }

    void await() throws InterruptedException {
        done.await();
    }

    double seconds() {
        return (endedNanos - beganNanos) / 1e9;
    }

    double secondsUntilNow() {
        return (System.nanoTime() - beganNanos) / 1e9;
    }

    double cpuSeconds() {
        return (endedCpu - beganCpu) / 1e9;
    }

    private static long cpuNanos() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }
}
