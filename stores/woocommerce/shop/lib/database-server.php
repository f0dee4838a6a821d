<?php
/**
 * The MariaDB server: its data folder and the statements that it runs before it accepts
 * connections.
 */

declare(strict_types=1);

namespace Storefleet;

final class DatabaseServer {
	public const PROGRAM    = '/usr/sbin/mariadbd';
	public const SETTINGS   = '/opt/storefleet/shop/etc/mariadb.cnf';
	private const INIT_FILE = '/tmp/init.sql';

	/**
	 * Copy the template's data aside, flush and rename it, so that an interrupted copy is never used.
	 */
	public static function create_data( string $folder, string $template ): void {
		if ( is_dir( "{$folder}/data" ) ) {
			return;
		}
		$fresh = "{$folder}/data.new";
		run_program( [ 'rm', '-rf', $fresh ] );
		run_program( [ 'cp', '-R', '--sparse=never', $template, $fresh ] );
		run_program( [ 'chmod', '-R', 'u=rwX,go=', $fresh ] );
		run_program( [ 'sync', '--file-system', $fresh ] );
		if ( ! rename( $fresh, "{$folder}/data" ) ) {
			throw new \RuntimeException( "The database's folder cannot be moved to its final name." );
		}
		run_program( [ 'sync', $folder ] );
	}

	/**
	 * Write the server's init file, which creates database and user; it is readable by this user only.
	 */
	public static function write_init_file( Configuration $store ): string {
		$user     = self::quote_text( $store->get_text( 'database.user' ) );
		$password = self::quote_text( $store->read_secret( 'database.password_file' ) );
		$database = Database::quote_name( $store->get_text( 'database.name' ) );
		$pattern  = Database::quote_name( str_replace( '_', '\\_', $store->get_text( 'database.name' ) ) . '\\_%' );
		umask( 0077 );
		$statements = [
			"CREATE DATABASE IF NOT EXISTS {$database} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci",
			"CREATE USER IF NOT EXISTS {$user}@'%' IDENTIFIED BY {$password}",
			"ALTER USER {$user}@'%' IDENTIFIED BY {$password}",
			"GRANT ALL ON {$database}.* TO {$user}@'%'",
			"GRANT ALL ON {$pattern}.* TO {$user}@'%'",
		];
		if ( false === file_put_contents( self::INIT_FILE, implode( ";\n", $statements ) . ";\n" ) ) {
			throw new \RuntimeException( self::INIT_FILE . ' cannot be written.' );
		}
		return self::INIT_FILE;
	}

	/** Replace this process by the server. */
	public static function run( string $init_file ): never {
		$options = [
			'--defaults-file=' . self::SETTINGS,
			"--init-file={$init_file}",
			'--innodb-buffer-pool-size=' . self::get_buffer_pool_mib() . 'M',
		];
		pcntl_exec( self::PROGRAM, $options );
		throw new \RuntimeException( self::PROGRAM . ' cannot be started.' );
	}

	private static function get_buffer_pool_mib(): int {
		return max( 16, (int) ( getenv( 'STORE_DATABASE_MEMORY' ) ?: 48 ) );
	}

	private static function quote_text( string $value ): string {
		if ( 1 !== preg_match( '/^[\x20-\x7e]{1,200}$/D', $value ) ) {
			throw new PermanentError(
				'The name or password of the database user contains invalid characters. Correct the Secret.'
			);
		}
		return "'" . str_replace( [ '\\', "'" ], [ '\\\\', "''" ], $value ) . "'";
	}
}
