package org.apache.curator.test;

import java.io.File;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.server.quorum.QuorumPeerConfig;

/**
 * Takes the place of curator-test's class of the same name, which runs Java's server inside the tests'
 * JVM: here each server is a process, started by the command in the property suite.server (words parted
 * by blanks), to which the configuration file and the tests' -D properties are added. With suite.members
 * above 1 a test's single server becomes the first member of an ensemble of as many.
 */
public class ZooKeeperServerEmbeddedAdapter implements ZooKeeperMainFace {
    private static final List<String> COMMAND = Arrays.asList(System.getProperty("suite.server").split(" "));
    private static final int MEMBERS = Integer.getInteger("suite.members", 1);
    private static final long START_MS = 60_000;
    private static final long STOP_S = 20;
    private static final Set<Process> RUNNING = Collections.synchronizedSet(new HashSet<>());
    /** The servers of the ensemble in a data directory: a test starts it again after it has stopped it. */
    private static final Map<Path, String[]> ENSEMBLES = Collections.synchronizedMap(new HashMap<>());

    static {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> RUNNING.forEach(Process::destroyForcibly)));
    }

    private final List<Process> processes = new ArrayList<>();
    private int clientPort;

    @Override
    public void start(QuorumPeerConfigBuilder builder) {
        try {
            Properties keys = builder.buildProperties();
            keys.setProperty("4lw.commands.whitelist", "*");
            keys.setProperty("admin.enableServer", "false");
            if (QuorumPeerConfig.isReconfigEnabled()) {
                keys.setProperty("reconfigEnabled", "true");
            }
            Path directory = Paths.get(keys.getProperty("dataDir"));
            clientPort = Integer.parseInt(keys.getProperty("clientPort"));
            boolean cluster = keys.stringPropertyNames().stream().anyMatch(key -> key.startsWith("server."));
            if (cluster) {
                keys.remove("clientPort");
                launch(keys, directory);
                await(false);
            } else if (MEMBERS == 1) {
                clientPort = clientPort == 0 ? freePort() : clientPort;
                keys.setProperty("clientPort", Integer.toString(clientPort));
                launch(keys, directory);
                await(true);
            } else {
                startEnsemble(keys, directory);
                await(true);
            }
        } catch (Exception e) {
            kill();
            throw new FailedServerStartException(e);
        }
    }

    private void startEnsemble(Properties keys, Path directory) throws IOException {
        String[] servers = ENSEMBLES.get(directory);
        if (servers == null) {
            servers = new String[MEMBERS];
            for (int i = 0; i < MEMBERS; i++) {
                int port = i == 0 && clientPort != 0 ? clientPort : freePort();
                servers[i] = "127.0.0.1:" + freePort() + ":" + freePort() + ";127.0.0.1:" + port;
            }
            ENSEMBLES.put(directory, servers);
        }
        clientPort = Integer.parseInt(servers[0].substring(servers[0].lastIndexOf(':') + 1));
        keys.remove("clientPort");
        for (int i = 0; i < MEMBERS; i++) {
            keys.setProperty("server." + (i + 1), servers[i]);
        }
        for (int i = 1; i <= MEMBERS; i++) {
            Path own = Files.createDirectories(directory.resolve("member" + i));
            Files.writeString(own.resolve("myid"), Integer.toString(i));
            keys.setProperty("dataDir", own.toString());
            launch(keys, own);
        }
    }

    private void launch(Properties keys, Path directory) throws IOException {
        StringBuilder text = new StringBuilder();
        for (String key : new TreeSet<>(keys.stringPropertyNames())) {
            text.append(key).append('=').append(keys.getProperty(key)).append('\n');
        }
        // What a test adds of its own may be a number.
        keys.forEach((key, value) -> {
            if (!(value instanceof String)) {
                text.append(key).append('=').append(value).append('\n');
            }
        });
        Path file = directory.resolve("suite.cfg");
        Files.writeString(file, text);
        List<String> command = new ArrayList<>(COMMAND);
        command.add(file.toString());
        for (String name : System.getProperties().stringPropertyNames()) {
            boolean ofServer = name.startsWith("zookeeper.") || name.startsWith("znode.");
            if ((ofServer && !name.contains(".jmx.")) || name.equals("readonlymode.enabled")) {
                command.add("-D" + name + "=" + System.getProperty(name));
            }
        }
        File log = directory.resolve("suite.log").toFile();
        Process process = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.appendTo(log))
                .start();
        processes.add(process);
        RUNNING.add(process);
    }

    /** Waits until the client port is open, or until its server serves. */
    private void await(boolean serving) throws IOException, InterruptedException {
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(START_MS);
        while (System.nanoTime() < end) {
            for (Process process : processes) {
                if (!process.isAlive()) {
                    throw new IOException("a server ended with " + process.exitValue());
                }
            }
            try (Socket socket = new Socket()) {
                socket.connect(new InetSocketAddress("127.0.0.1", clientPort), 1000);
                if (!serving) {
                    return;
                }
                socket.setSoTimeout(2000);
                socket.getOutputStream().write("srvr".getBytes());
                if (new String(socket.getInputStream().readAllBytes()).contains("\nMode: ")) {
                    return;
                }
            } catch (IOException e) {
                // Not there yet.
            }
            Thread.sleep(20);
        }
        throw new IOException("no server at port " + clientPort);
    }

    private static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0)) {
            return socket.getLocalPort();
        }
    }

    @Override
    public int getClientPort() {
        return clientPort;
    }

    @Override
    public void kill() {
        processes.forEach(Process::destroyForcibly);
        reap();
    }

    @Override
    public void close() {
        processes.forEach(Process::destroy);
        reap();
    }

    private void reap() {
        for (Process process : processes) {
            try {
                if (!process.waitFor(STOP_S, TimeUnit.SECONDS)) {
                    System.err.println("a server did not stop in " + STOP_S + " s");
                    process.destroyForcibly();
                }
            } catch (InterruptedException e) {
                process.destroyForcibly();
                Thread.currentThread().interrupt();
            }
            RUNNING.remove(process);
        }
        processes.clear();
    }
}
