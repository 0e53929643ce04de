// A client of hublatch's management API: Java 17, without packages. Copy it; your JSON library reads the rest of the answer.
//
// As a program: HUBLATCH_API_URL=... HUBLATCH_API_KEY_FILE=... java Hublatch.java alice lab

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.UUID;
import java.util.regex.Pattern;

public final class Hublatch {
    /** No: the status of HTTP, and the answer, with the code to act upon. */
    public static final class HublatchException extends IOException {
        public final int status;
        public final String code;

        HublatchException(int status, String answer) {
            super("hublatch answers " + status + ": " + answer);
            this.status = status;
            this.code = member(answer, "code");
        }
    }

    private final URI links;
    private final String key;
    // A redirect must not take the key elsewhere.
    private final HttpClient client = HttpClient.newBuilder().followRedirects(HttpClient.Redirect.NEVER)
            .version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(5)).build();

    public Hublatch(String url, String key) {
        this.links = URI.create(url.replaceAll("/+$", "") + "/api/v1/links");
        this.key = key.strip();
    }

    /** The URL of a link: redirect the browser to it at once, and write it into no log. */
    public String link(String username, String path) throws IOException, InterruptedException {
        String order = "{\"username\": " + quoted(username) + ", \"path\": " + quoted(path) + "}";
        HttpRequest request = HttpRequest.newBuilder(links).timeout(Duration.ofSeconds(30))
                .header("Authorization", "token " + key).header("Content-Type", "application/json")
                // The same call can be made again with the same key: it is one link.
                .header("Idempotency-Key", UUID.randomUUID().toString())
                .POST(BodyPublishers.ofString(order)).build();
        HttpResponse<String> answer = client.send(request, BodyHandlers.ofString());
        String url = member(answer.body(), "url");
        if (answer.statusCode() != 201 || url == null) {
            throw new HublatchException(answer.statusCode(), answer.body());
        }
        return url;
    }

    /** A member that is a text; hublatch's urls and codes hold no escapes. */
    private static String member(String json, String name) {
        var found = Pattern.compile("\"" + name + "\":\"([^\"\\\\]*)\"").matcher(json);
        return found.find() ? found.group(1) : null;
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            out.append(c == '"' || c == '\\' || c < ' ' ? String.format("\\u%04x", (int) c) : String.valueOf(c));
        }
        return out.append('"').toString();
    }

    public static void main(String[] arguments) throws Exception {
        String key = Files.readString(Path.of(System.getenv("HUBLATCH_API_KEY_FILE")));
        try {
            System.out.println(new Hublatch(System.getenv("HUBLATCH_API_URL"), key).link(arguments[0], arguments[1]));
        } catch (HublatchException error) {
            System.err.println(error.getMessage());
            System.exit(1);
        }
    }
}
