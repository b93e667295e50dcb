// A client in Java, by java.net.http: `Client URL BYTES get|all`. Prints ok.
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.MessageDigest;
import java.util.HexFormat;

class Client {
    static final HttpClient CLIENT = HttpClient.newHttpClient();
    static String url;

    /** A stream of bytes i % 251. */
    static class Pattern extends InputStream {
        private int at;
        private final int end;

        Pattern(int end) {
            this.end = end;
        }

        @Override
        public int read() {
            return at == end ? -1 : at++ % 251;
        }
    }

    static String sha(InputStream from) throws Exception {
        MessageDigest sum = MessageDigest.getInstance("SHA-256");
        byte[] block = new byte[1 << 16];
        for (int n; (n = from.read(block)) > 0; ) sum.update(block, 0, n);
        return HexFormat.of().formatHex(sum.digest());
    }

    static void expect(String got, String want, String what) {
        if (!got.equals(want)) throw new AssertionError(what + ": " + got + ", not " + want);
    }

    static void get(String path, int n) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(url + path)).build();
        var response = CLIENT.send(request, BodyHandlers.ofInputStream());
        expect("" + response.statusCode(), "200", path);
        expect(sha(response.body()), sha(new Pattern(n)), path);
    }

    static void post(BodyPublisher body, int n, boolean expects) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(url + "/sha")).POST(body);
        request.expectContinue(expects);
        var response = CLIENT.send(request.build(), BodyHandlers.ofString());
        expect(response.body(), sha(new Pattern(n)), "POST");
    }

    public static void main(String[] args) throws Exception {
        url = args[0];
        int size = Integer.parseInt(args[1]);
        for (int i = 0; i < 10; i++) get("/bytes/1000", 1000);
        get("/bytes/" + size, size);
        if (args[2].equals("all")) {
            get("/stream/" + size, size);
            post(BodyPublishers.ofByteArray(new Pattern(size).readAllBytes()), size, false);
            post(BodyPublishers.ofInputStream(() -> new Pattern(size)), size, false);
            post(BodyPublishers.ofInputStream(() -> new Pattern(size)), size, true);
        }
        System.out.println("ok");
    }
}
