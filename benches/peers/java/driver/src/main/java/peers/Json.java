package peers;

import java.util.Collection;
import java.util.StringJoiner;
import java.util.stream.Collectors;

/** One object of JSON on one line, its fields in the order in which they were added. */
final class Json {
    private final StringJoiner fields = new StringJoiner(", ", "{", "}");

    Json add(String name, Object value) {
        fields.add(quoted(name) + ": " + text(value));
        return this;
    }

    private static String text(Object value) {
        if (value instanceof String word) {
            return quoted(word);
        }
        if (value instanceof Collection<?> many) {
            return many.stream().map(Json::text).collect(Collectors.joining(", ", "[", "]"));
        }
        return String.valueOf(value);
    }

    private static String quoted(String word) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : word.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }

    @Override
    public String toString() {
        return fields.toString();
    }
}
