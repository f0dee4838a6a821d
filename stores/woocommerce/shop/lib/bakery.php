<?php
/** Makes the template: a server for the time of the build, the set-up as every store has it, a look at the pages. */

declare(strict_types=1);

namespace Storefleet;

final class Bakery {
	private const SOCKET   = '/tmp/bake.sock';
	private const PATIENCE = 60;
	/** Pages and a text on each: what customers, the owner and the platform ask for first. */
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
		'/no-such-page/'                      => 'not here',
		'/wp-login.php'                       => 'name="loginform"',
		'/wp-json/wc/store/v1/cart'           => '"items_count":0',
		'/wp-json/wc/store/v1/products'       => 'stoneware-mug',
		'/wp-cron.php?doing_wp_cron'          => '',
	];

	/** @var resource|null */
	private $server = null;

	public function __construct( private readonly string $folder ) {}

	public function bake(): void {
		$this->make_server();
		putenv( "STORE_CONFIG={$this->configuration()}" );
		$this->start_server();
		try {
			$this->store( 'setup' );
			$mug = Database::of( Configuration::current() )->number( "SELECT ID FROM wp_posts WHERE post_name = 'stoneware-mug' AND post_type = 'product'" );
			foreach ( self::PAGES as $uri => $expected ) {
				$this->store( 'visit', sprintf( $uri, $mug ), $expected );
			}
			$this->store( 'compile' );
			$this->tidy();
		} finally {
			$this->stop_server();
		}
		run( [ 'cp', '-R', '--no-preserve=all', '/srv/wordpress/wp-content/uploads', "{$this->folder}/uploads" ] );
		run( [ 'rm', '-rf', "{$this->folder}/uploads/wc-logs", "{$this->folder}/work" ] );
		run( [ 'chmod', '-R', 'a+rX', $this->folder ] );
	}

	private function make_server(): void {
		foreach ( [ 'database', 'compiled', 'work' ] as $name ) {
			mkdir( "{$this->folder}/{$name}", 0755, true );
		}
		run( [ 'mariadb-install-db', '--defaults-file=' . Server::SETTINGS, "--datadir={$this->folder}/database", '--auth-root-authentication-method=normal', '--skip-test-db', '--skip-name-resolve', '--force' ] );
	}

	/** Its secrets are made here and thrown away: a store's own take their place when it is made. */
	private function configuration(): string {
		$work = "{$this->folder}/work";
		foreach ( [ 'database-password', 'secret-key', 'admin-password' ] as $name ) {
			file_put_contents( "{$work}/{$name}", bin2hex( random_bytes( 24 ) ) );
		}
		file_put_contents( "{$work}/admin-username", 'storefleet-template' );
		$content = [
			'store_id'        => 'template',
			'name'            => 'template',
			'host'            => 'template.localhost',
			'url'             => 'http://template.localhost/',
			'database'        => [ 'host' => 'localhost:' . self::SOCKET, 'name' => 'store', 'user' => 'store', 'password_file' => "{$work}/database-password" ],
			'secret_key_file' => "{$work}/secret-key",
			'admin'           => [ 'username_file' => "{$work}/admin-username", 'password_file' => "{$work}/admin-password" ],
			'parameters'      => [ 'title' => 'Shop', 'currency' => 'USD', 'country' => 'US' ],
		];
		file_put_contents( "{$work}/store.json", (string) json_encode( $content ) );
		return "{$work}/store.json";
	}

	private function start_server(): void {
		$words   = Server::first_words( Configuration::current() );
		$command = [ Server::PROGRAM, '--defaults-file=' . Server::SETTINGS, "--datadir={$this->folder}/database", '--socket=' . self::SOCKET, '--skip-networking', "--init-file={$words}" ];
		$server  = proc_open( $command, [ 0 => [ 'file', '/dev/null', 'r' ], 1 => STDERR, 2 => STDERR ], $pipes );
		if ( ! is_resource( $server ) ) {
			throw new \RuntimeException( 'MariaDB cannot be started' );
		}
		$this->server = $server;
		Database::wait_for( Configuration::current(), self::PATIENCE );
	}

	/** What only this build needed, and what would be the same secret in every store. */
	private function tidy(): void {
		$database = Database::of( Configuration::current() );
		$database->run( "DELETE FROM wp_options WHERE option_name LIKE '\\_transient\\_%' OR option_name LIKE '\\_site\\_transient\\_%'" );
		$database->run( "DELETE FROM wp_options WHERE option_name IN ('storefleet_once_owner', 'storefleet_releases', 'woocommerce_store_id', 'woocommerce_share_key', 'recovery_keys', 'auth_key', 'auth_salt', 'logged_in_key', 'logged_in_salt', 'nonce_key', 'nonce_salt', 'secure_auth_key', 'secure_auth_salt')" );
		$database->run( 'TRUNCATE wp_woocommerce_sessions' );
		$database->run( "UPDATE wp_users SET user_pass = '!'" );
		$database->run( "DELETE FROM wp_usermeta WHERE meta_key = 'session_tokens'" );
		// A slow end leaves nothing to be cleaned up in every store's first second.
		$root = new \mysqli( 'localhost', 'root', '', 'mysql', 0, self::SOCKET );
		foreach ( [ 'SET GLOBAL innodb_fast_shutdown = 0', 'DROP DATABASE IF EXISTS sys', "DELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host <> 'localhost')", 'DELETE FROM mysql.proxies_priv', 'TRUNCATE mysql.help_topic', 'TRUNCATE mysql.help_relation', 'TRUNCATE mysql.help_keyword' ] as $statement ) {
			$root->query( $statement );
		}
		// Nobody can be root: who may run a program beside the server stops it and starts it without its rights.
		$root->query( "ALTER USER 'root'@'localhost' IDENTIFIED VIA mysql_native_password USING 'invalid' ACCOUNT LOCK" );
	}

	private function stop_server(): void {
		if ( null === $this->server ) {
			return;
		}
		proc_terminate( $this->server, SIGTERM );
		proc_close( $this->server );
		$this->server = null;
	}

	private function store( string ...$arguments ): void {
		run( [ PHP_BINARY, '-d', "opcache.file_cache={$this->folder}/compiled", '/opt/storefleet/shop/store.php', ...$arguments ] );
	}
}
