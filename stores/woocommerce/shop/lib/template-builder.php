<?php
/**
 * Build the template: run a temporary database server and the usual set-up, then request the pages.
 */

declare(strict_types=1);

namespace Storefleet;

final class TemplateBuilder {
	private const SOCKET          = '/tmp/bake.sock';
	private const START_TIMEOUT_S = 60;
	/**
	 * Pages that customers, the owner and the platform request first, with a text that each must
	 * contain.
	 */
	private const PAGES = [
		'/'                                   => 'Stoneware Mug',
		'/shop/'                              => 'Stoneware Mug',
		'/shop/?orderby=price'                => 'Stoneware Mug',
		'/product/stoneware-mug/'             => 'add-to-cart',
		'/product-category/kitchen/'          => 'Stoneware Mug',
		'/?s=o&post_type=product'             => 'Stoneware Mug',
		'/cart/'                              => 'wp-block-woocommerce-cart',
		'/checkout/?add-to-cart=%d'           => 'wp-block-woocommerce-checkout',
		'/my-account/'                        => 'woocommerce-form-login',
		'/my-account/lost-password/'          => 'user_login',
		'/no-such-page/'                      => 'Page not found',
		'/wp-login.php'                       => 'name="loginform"',
		'/wp-json/wc/store/v1/cart'           => '"items_count":0',
		'/wp-json/wc/store/v1/products'       => 'stoneware-mug',
		'/storefleet/health'                  => '"setup":"done"',
		'/wp-cron.php?doing_wp_cron'          => '',
	];

	/** Options that each store creates for itself. */
	private const PRIVATE_OPTIONS = [
		...[ 'storefleet_once_owner', 'storefleet_once_verified', 'storefleet_releases' ],
		...[ 'woocommerce_store_id', 'woocommerce_share_key', 'recovery_keys' ],
		...[ 'auth_key', 'auth_salt', 'logged_in_key', 'logged_in_salt' ],
		...[ 'nonce_key', 'nonce_salt', 'secure_auth_key', 'secure_auth_salt' ],
	];
	/** Tables that the visits of the build fill: a cart, an order that was begun, finished actions. */
	private const VISITOR_TABLES = [
		...[ 'wp_woocommerce_sessions', 'wp_woocommerce_order_items', 'wp_woocommerce_order_itemmeta' ],
		...[ 'wp_wc_orders', 'wp_wc_orders_meta', 'wp_wc_order_addresses', 'wp_wc_order_operational_data' ],
		...[ 'wp_wc_order_stats', 'wp_wc_order_product_lookup', 'wp_wc_customer_lookup' ],
		...[ 'wp_wc_order_tax_lookup', 'wp_wc_order_coupon_lookup', 'wp_wc_reserved_stock' ],
		...[ 'wp_actionscheduler_logs', 'wp_actionscheduler_claims', 'wp_wc_rate_limits' ],
	];
	/** Statements that reduce what every store copies and starts with. */
	private const CLEANUP_STATEMENTS = [
		// A slow shutdown leaves no clean-up work for every store's first second.
		'SET GLOBAL innodb_fast_shutdown = 0',
		'DROP DATABASE IF EXISTS sys',
		"DELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host <> 'localhost')",
		'DELETE FROM mysql.proxies_priv',
		'TRUNCATE mysql.help_topic',
		'TRUNCATE mysql.help_relation',
		'TRUNCATE mysql.help_keyword',
	];

	/** @var resource|null */
	private $server = null;

	public function __construct( private readonly string $folder ) {}

	public function build(): void {
		$this->create_database();
		putenv( "STORE_CONFIG={$this->write_configuration()}" );
		putenv( 'STORE_SETUP_MODE=' . SetupMode::Install->value );
		$began = time();
		$this->start_server();
		try {
			$this->run_command( 'setup' );
			$mug = Database::connect( Configuration::load() )->fetch_number(
				"SELECT ID FROM wp_posts WHERE post_name = 'stoneware-mug' AND post_type = 'product'"
			);
			foreach ( self::PAGES as $uri => $expected ) {
				$this->run_command( 'visit', sprintf( $uri, $mug ), $expected );
			}
			$this->run_command( 'compile' );
			$this->remove_build_data();
			TemplateTraces::mark( Database::connect( Configuration::load() ), $began, time() );
		} finally {
			$this->stop_server();
		}
		run_program(
			[ 'cp', '-R', '--no-preserve=all', '/srv/wordpress/wp-content/uploads', "{$this->folder}/uploads" ]
		);
		run_program( [ 'rm', '-rf', "{$this->folder}/uploads/wc-logs", "{$this->folder}/work" ] );
		run_program( [ 'chmod', '-R', 'a+rX', $this->folder ] );
	}

	private function create_database(): void {
		foreach ( [ 'database', 'compiled', 'work' ] as $name ) {
			mkdir( "{$this->folder}/{$name}", 0755, true );
		}
		run_program(
			[
				'mariadb-install-db',
				'--defaults-file=' . DatabaseServer::SETTINGS,
				"--datadir={$this->folder}/database",
				'--auth-root-authentication-method=normal',
				'--skip-test-db',
				'--skip-name-resolve',
				'--force',
			]
		);
	}

	/** Write a configuration with temporary secrets; each store replaces them when it is created. */
	private function write_configuration(): string {
		$work = "{$this->folder}/work";
		foreach ( [ 'database-password', 'secret-key', 'admin-password' ] as $name ) {
			file_put_contents( "{$work}/{$name}", bin2hex( random_bytes( 24 ) ) );
		}
		file_put_contents( "{$work}/admin-username", TemplateTraces::USER );
		$content = [
			'store_id'        => 'template',
			'name'            => 'template',
			'host'            => TemplateTraces::HOST,
			'url'             => 'http://' . TemplateTraces::HOST . '/',
			'database'        => [
				'host'          => 'localhost:' . self::SOCKET,
				'name'          => 'store',
				'user'          => 'store',
				'password_file' => "{$work}/database-password",
			],
			'secret_key_file' => "{$work}/secret-key",
			'admin'           => [
				'username_file' => "{$work}/admin-username",
				'password_file' => "{$work}/admin-password",
			],
			'parameters'      => [ 'title' => 'Shop', 'currency' => 'USD', 'country' => 'US' ],
		];
		file_put_contents( "{$work}/store.json", (string) json_encode( $content ) );
		return "{$work}/store.json";
	}

	private function start_server(): void {
		$init_file = DatabaseServer::write_init_file( Configuration::load() );
		$command   = [
			DatabaseServer::PROGRAM,
			'--defaults-file=' . DatabaseServer::SETTINGS,
			"--datadir={$this->folder}/database",
			'--socket=' . self::SOCKET,
			'--skip-networking',
			"--init-file={$init_file}",
		];
		$streams   = [ 0 => [ 'file', '/dev/null', 'r' ], 1 => STDERR, 2 => STDERR ];
		$server    = proc_open( $command, $streams, $pipes );
		if ( ! is_resource( $server ) ) {
			throw new \RuntimeException( 'MariaDB cannot be started.' );
		}
		$this->server = $server;
		Database::connect_with_retries( Configuration::load(), self::START_TIMEOUT_S );
	}

	/** Delete what only this build needed, and secrets that would be the same in every store. */
	private function remove_build_data(): void {
		$database = Database::connect( Configuration::load() );
		$database->execute(
			"DELETE FROM wp_options
			  WHERE option_name LIKE '\\_transient\\_%' OR option_name LIKE '\\_site\\_transient\\_%'"
		);
		foreach ( self::PRIVATE_OPTIONS as $name ) {
			$database->execute( 'DELETE FROM wp_options WHERE option_name = ?', [ $name ] );
		}
		foreach ( array_intersect( $database->list_tables(), self::VISITOR_TABLES ) as $table ) {
			$database->execute( 'TRUNCATE ' . Database::quote_name( $table ) );
		}
		$database->execute( "DELETE FROM wp_posts WHERE post_type LIKE 'shop\\_order%'" );
		$database->execute( "DELETE FROM wp_actionscheduler_actions WHERE status <> 'pending'" );
		$database->execute( 'DROP TABLE IF EXISTS wp_storefleet_mail' );
		$database->execute( "UPDATE wp_users SET user_pass = '!'" );
		$database->execute( "DELETE FROM wp_usermeta WHERE meta_key = 'session_tokens'" );
		$root = new \mysqli( 'localhost', 'root', '', 'mysql', 0, self::SOCKET );
		foreach ( self::CLEANUP_STATEMENTS as $statement ) {
			$root->query( $statement );
		}
		// Lock root: maintenance in the server's container can restart it with --skip-grant-tables.
		$root->query(
			"ALTER USER 'root'@'localhost' IDENTIFIED VIA mysql_native_password USING 'invalid' ACCOUNT LOCK"
		);
	}

	private function stop_server(): void {
		if ( null === $this->server ) {
			return;
		}
		proc_terminate( $this->server, SIGTERM );
		proc_close( $this->server );
		$this->server = null;
	}

	private function run_command( string ...$arguments ): void {
		$cache = "opcache.file_cache={$this->folder}/compiled";
		run_program( [ PHP_BINARY, '-d', $cache, '/opt/storefleet/shop/store.php', ...$arguments ] );
	}
}
