<?php
/** MariaDB's own process: its files, and what it is told before it listens. */

declare(strict_types=1);

namespace Storefleet;

final class Server {
	public const PROGRAM  = '/usr/sbin/mariadbd';
	public const SETTINGS = '/opt/storefleet/shop/etc/mariadb.cnf';
	private const SPOKEN  = '/tmp/first-words.sql';

	/** Beside its place and moved there whole and safe on the disk: an interrupted copy is never used. */
	public static function make_data( string $folder, string $template ): void {
		if ( is_dir( "{$folder}/data" ) ) {
			return;
		}
		$fresh = "{$folder}/data.new";
		run( [ 'rm', '-rf', $fresh ] );
		run( [ 'cp', '-R', '--sparse=never', $template, $fresh ] );
		run( [ 'chmod', '-R', 'u=rwX,go=', $fresh ] );
		run( [ 'sync', '--file-system', $fresh ] );
		if ( ! rename( $fresh, "{$folder}/data" ) ) {
			throw new \RuntimeException( "the database's folder cannot be put in its place" );
		}
		run( [ 'sync', $folder ] );
	}

	/** A file that the server reads before it listens; only it and this process may. */
	public static function first_words( Configuration $store ): string {
		$user     = self::text( $store->text( 'database.user' ) );
		$password = self::text( $store->secret( 'database.password_file' ) );
		$database = Database::quoted( $store->text( 'database.name' ) );
		$pattern  = Database::quoted( str_replace( '_', '\\_', $store->text( 'database.name' ) ) . '\\_%' );
		umask( 0077 );
		$words = [
			"CREATE DATABASE IF NOT EXISTS {$database} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci",
			"CREATE USER IF NOT EXISTS {$user}@'%' IDENTIFIED BY {$password}",
			"ALTER USER {$user}@'%' IDENTIFIED BY {$password}",
			"GRANT ALL ON {$database}.* TO {$user}@'%'",
			"GRANT ALL ON {$pattern}.* TO {$user}@'%'",
		];
		if ( false === file_put_contents( self::SPOKEN, implode( ";\n", $words ) . ";\n" ) ) {
			throw new \RuntimeException( self::SPOKEN . ' cannot be written' );
		}
		return self::SPOKEN;
	}

	public static function become( string $first_words ): never {
		pcntl_exec( self::PROGRAM, [ '--defaults-file=' . self::SETTINGS, "--init-file={$first_words}", '--innodb-buffer-pool-size=' . self::memory() . 'M' ] );
		throw new \RuntimeException( self::PROGRAM . ' cannot be started' );
	}

	/** MiB of pages that it keeps. */
	private static function memory(): int {
		return max( 16, (int) ( getenv( 'STORE_DATABASE_MEMORY' ) ?: 48 ) );
	}

	private static function text( string $value ): string {
		if ( 1 !== preg_match( '/^[\x20-\x7e]{1,200}$/D', $value ) ) {
			throw new Mistake( 'A name or password of the database holds what none can hold: correct the Secret.' );
		}
		return "'" . str_replace( [ '\\', "'" ], [ '\\\\', "''" ], $value ) . "'";
	}
}
