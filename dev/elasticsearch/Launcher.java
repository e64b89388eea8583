import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginBundle;
import org.elasticsearch.plugins.PluginsLoader;
import org.elasticsearch.rest.RestController;

/**
 * Runs one Elasticsearch node until a signal, or the end of standard input, which is how the death of the parent
 * process shows. Each argument is one setting: {@code path.home=/some/where http.port=9200 …}
 */
public final class Launcher {

    public static void main(String[] arguments) {
        exitAtEndOfInput();
        try {
            run(settings(arguments));
        } catch (Throwable failure) {
            failure.printStackTrace();
            System.exit(1);
        }
    }

    private static void run(Settings settings) throws Exception {
        LogConfigurator.configureESLogging();
        Environment environment = new Environment(settings, null);
        Path modules = Path.of(settings.get("path.home"), "modules");
        PluginsLoader loader = PluginsLoader.createPluginsLoader(loadModules(modules), Set.of(), Map.of(), false);
        Node node = new Node(environment, loader);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(node), "close-node"));
        node.injector().getInstance(RestController.class).registerHandler(new RootHandler(node));
        node.start();
    }

    private static Settings settings(String[] arguments) {
        Settings.Builder settings = Settings.builder();
        for (String argument : arguments) {
            String[] pair = argument.split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        return settings.build();
    }

    /** By reflection, because some versions of Elasticsearch want a second, boolean argument. */
    @SuppressWarnings("unchecked")
    private static Set<PluginBundle> loadModules(Path modules) throws ReflectiveOperationException {
        var method = Arrays.stream(PluginsLoader.class.getMethods())
            .filter(candidate -> candidate.getName().equals("loadModulesBundles"))
            .findFirst()
            .orElseThrow();
        Object[] arguments = method.getParameterCount() == 1 ? new Object[] { modules } : new Object[] { modules, false };
        return (Set<PluginBundle>) method.invoke(null, arguments);
    }

    /** Not a daemon thread: Elasticsearch's own threads all are, and something has to keep the JVM alive. */
    private static void exitAtEndOfInput() {
        Thread reader = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {}
            } catch (IOException unreadable) {
                // as good as the end
            }
            System.exit(0);
        }, "parent-watch");
        reader.start();
    }

    private static void close(Node node) {
        try {
            node.close();
        } catch (IOException failure) {
            failure.printStackTrace();
        }
    }
}
