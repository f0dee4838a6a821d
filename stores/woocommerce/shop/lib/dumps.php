<?php
/** Dumps of the database as files: written whole or not at all, the newest few of them kept. */

declare(strict_types=1);

namespace Storefleet;

final class Dumps {
	private const FOLDER  = '/var/lib/storefleet/backups';
	private const KEPT    = 3;
	private const OPTIONS = '/tmp/client.cnf';
	private const PART    = 1 << 20;
	/** The last line that mariadb-dump writes: without it, the dump was cut off. */
	private const END = '-- Dump completed';

	private function __construct( private readonly Configuration $store, private readonly Database $database ) {}

	public static function of( Configuration $store ): self {
		return new self( $store, Database::wait_for( $store, Task::PATIENCE ) );
	}

	/** @return array{bytes: int, at: string} */
	public function make( string $name ): array {
		$target = self::file( $name );
		if ( ! is_file( $target ) ) {
			array_map( 'unlink', glob( self::FOLDER . '/*.new' ) ?: [] );
			$at    = time();
			$fresh = "{$target}.new";
			$this->write( $fresh );
			touch( $fresh, $at );
			if ( ! rename( $fresh, $target ) ) {
				throw new \RuntimeException( 'the dump cannot be put in its place' );
			}
			run( [ 'sync', self::FOLDER ] );
		}
		$this->forget_old( $target );
		clearstatcache();
		return [ 'bytes' => (int) filesize( $target ), 'at' => gmdate( 'Y-m-d\TH:i:s\Z', (int) filemtime( $target ) ) ];
	}

	/**
	 * Into a database of its own first, and from there into place by one statement.
	 *
	 * @return array{bytes: int}
	 */
	public function restore( string $name ): array {
		$source = self::file( $name );
		if ( ! is_file( $source ) ) {
			throw new Mistake( "There is no dump “{$name}” in the store's backups: roll back without restoring." );
		}
		$fresh = "{$this->database->name}_restore";
		$old   = "{$this->database->name}_before";
		foreach ( [ $fresh, $old ] as $schema ) {
			$this->database->run( 'DROP DATABASE IF EXISTS ' . Database::quoted( $schema ) );
			$this->database->run( 'CREATE DATABASE ' . Database::quoted( $schema ) . ' CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci' );
		}
		$this->read( $source, $fresh );
		$this->swap( $fresh, $old );
		foreach ( [ $fresh, $old ] as $schema ) {
			$this->database->run( 'DROP DATABASE ' . Database::quoted( $schema ) );
		}
		return [ 'bytes' => (int) filesize( $source ) ];
	}

	private function swap( string $fresh, string $old ): void {
		$moves = [];
		foreach ( [ [ $this->database->name, $old ], [ $fresh, $this->database->name ] ] as [ $from, $to ] ) {
			foreach ( $this->database->tables( $from ) as $table ) {
				$moves[] = Database::quoted( $from ) . '.' . Database::quoted( $table ) . ' TO ' . Database::quoted( $to ) . '.' . Database::quoted( $table );
			}
		}
		$this->database->run( 'SET FOREIGN_KEY_CHECKS = 0' );
		$this->database->run( 'RENAME TABLE ' . implode( ', ', $moves ) );
	}

	private function write( string $path ): void {
		$options = [ '--single-transaction', '--quick', '--no-tablespaces', '--skip-lock-tables', '--default-character-set=utf8mb4', '--hex-blob', $this->database->name ];
		$process = $this->start( 'mariadb-dump', $options, [ [ 'file', '/dev/null', 'r' ], [ 'pipe', 'w' ] ], $pipes );
		$file    = fopen( $path, 'wb' );
		$packer  = deflate_init( ZLIB_ENCODING_GZIP, [ 'level' => 4 ] );
		$last    = '';
		while ( ! feof( $pipes[1] ) ) {
			$part = (string) fread( $pipes[1], self::PART );
			$last = substr( $last . $part, -200 );
			self::put( $file, deflate_add( $packer, $part, ZLIB_NO_FLUSH ) );
		}
		self::put( $file, deflate_add( $packer, '', ZLIB_FINISH ) );
		$safe   = fflush( $file ) && fsync( $file ) && fclose( $file );
		$status = proc_close( $process );
		if ( 0 !== $status || ! $safe || ! str_contains( $last, self::END ) ) {
			throw new \RuntimeException( "mariadb-dump ended with the status {$status} before its work was done" );
		}
	}

	private function read( string $path, string $schema ): void {
		$process = $this->start( 'mariadb', [ '--default-character-set=utf8mb4', '--binary-mode', $schema ], [ [ 'pipe', 'r' ], STDERR ], $pipes );
		$file    = gzopen( $path, 'rb' );
		$last    = '';
		while ( ! gzeof( $file ) ) {
			$part = (string) gzread( $file, self::PART );
			$last = substr( $last . $part, -200 );
			self::put( $pipes[0], $part );
		}
		fclose( $pipes[0] );
		$status = proc_close( $process );
		if ( 0 !== $status || ! str_contains( $last, self::END ) ) {
			throw new \RuntimeException( "the dump could not be read in; mariadb ended with the status {$status}" );
		}
	}

	/**
	 * A program of MariaDB's, told in a file of its own where the database is; the password is in no list of processes.
	 *
	 * @param list<string>        $arguments
	 * @param array<int, mixed>   $streams
	 * @param array<int, mixed>|null $pipes
	 * @return resource
	 */
	private function start( string $program, array $arguments, array $streams, ?array &$pipes ) {
		umask( 0077 );
		$password = str_replace( [ '\\', '"' ], [ '\\\\', '\\"' ], $this->store->secret( 'database.password_file' ) );
		$host     = explode( ':', $this->store->text( 'database.host' ), 2 );
		$words    = "[client]\nuser = \"{$this->store->text( 'database.user' )}\"\npassword = \"{$password}\"\nskip-ssl\n";
		$words   .= isset( $host[1] ) ? "socket = \"{$host[1]}\"\n" : "host = \"{$host[0]}\"\nprotocol = tcp\n";
		file_put_contents( self::OPTIONS, $words );
		$process = proc_open( [ $program, '--defaults-file=' . self::OPTIONS, ...$arguments ], [ ...$streams, 2 => STDERR ], $pipes );
		return is_resource( $process ) ? $process : throw new \RuntimeException( "{$program} cannot be started" );
	}

	private function forget_old( string $newest ): void {
		$files = glob( self::FOLDER . '/*.sql.gz' ) ?: [];
		usort( $files, static fn ( string $a, string $b ): int => filemtime( $b ) <=> filemtime( $a ) );
		foreach ( array_slice( array_diff( $files, [ $newest ] ), self::KEPT - 1 ) as $old ) {
			unlink( $old );
		}
	}

	/** @param resource $file */
	private static function put( $file, string $content ): void {
		for ( $done = 0, $all = strlen( $content ); $done < $all; $done += $written ) {
			$written = fwrite( $file, substr( $content, $done ) );
			if ( ! $written ) {
				throw new \RuntimeException( 'it could not be written: is the volume full?' );
			}
		}
	}

	private static function file( string $name ): string {
		return self::FOLDER . "/{$name}.sql.gz";
	}
}
