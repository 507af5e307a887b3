import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;
import java.util.TreeMap;

/**
 * An application with a pool, made of a properties file.
 *
 * read FILE prints what HikariCP and the driver understand of it. ask FILE runs each line of
 * standard input as a query, on a connection of the pool, and prints the one value that it
 * yields, or "failed: " and why.
 */
public class Pool {
    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        HikariConfig config = new HikariConfig(args[1]);
        if (args[0].equals("read")) {
            out.println("username=" + config.getUsername());
            out.println("password=" + config.getPassword());
            Properties properties = org.postgresql.Driver.parseURL(config.getJdbcUrl(), null);
            if (properties == null) {
                throw new IllegalArgumentException("the driver does not know " + config.getJdbcUrl());
            }
            new TreeMap<>(properties).forEach((name, value) -> out.println(name + "=" + value));
            return;
        }
        config.setInitializationFailTimeout(-1);
        try (HikariDataSource pool = new HikariDataSource(config)) {
            out.println("ready");
            BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String query = in.readLine(); query != null; query = in.readLine()) {
                out.println("answer: " + ask(pool, query));
            }
        }
    }

    private static String ask(HikariDataSource pool, String query) {
        try (Connection connection = pool.getConnection();
                Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery(query)) {
            rows.next();
            return rows.getString(1);
        } catch (SQLException e) {
            return "failed: " + e.getMessage().replace('\n', ' ');
        }
    }
}
