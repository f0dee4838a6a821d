<?php
/** Dumps of the database as files: written atomically, the newest three are kept. */

declare(strict_types=1);

namespace Storefleet;

final class Dumps {
	private const FOLDER       = '/var/lib/storefleet/backups';
	private const KEPT_DUMPS   = 3;
	private const OPTIONS_FILE = '/tmp/client.cnf';
	private const CHUNK_BYTES  = 1 << 20;
	/** Start of the last line that mariadb-dump writes; a dump without it is incomplete. */
	private const END_MARK = '-- Dump completed';

	private function __construct(
		private readonly Configuration $store,
		private readonly Database $database,
	) {}

	public static function open( Configuration $store ): self {
		return new self( $store, Database::connect_with_retries( $store, Task::TIMEOUT_S ) );
	}

	/**
	 * Write the dump of this name, or keep the one that exists.
	 *
	 * @return array{bytes: int, at: string}
	 */
	public function create( string $name ): array {
		$target = self::get_path( $name );
		if ( ! is_file( $target ) ) {
			array_map( 'unlink', glob( self::FOLDER . '/*.new' ) ?: [] );
			$at    = time();
			$fresh = "{$target}.new";
			$this->write_dump( $fresh );
			touch( $fresh, $at );
			if ( ! rename( $fresh, $target ) ) {
				throw new \RuntimeException( 'The dump cannot be moved to its final name.' );
			}
			run_program( [ 'sync', self::FOLDER ] );
		}
		$this->delete_old_dumps( $target );
		clearstatcache();
		$time = gmdate( 'Y-m-d\TH:i:s\Z', (int) filemtime( $target ) );
		return [ 'bytes' => (int) filesize( $target ), 'at' => $time ];
	}

	/**
	 * Restore the dump into a separate database, then swap all tables with one statement.
	 *
	 * @return array{bytes: int}
	 */
	public function restore( string $name ): array {
		$source = self::get_path( $name );
		if ( ! is_file( $source ) ) {
			throw new PermanentError(
				"The dump “{$name}” does not exist in the store's backups. Roll back without restoring it."
			);
		}
		$fresh = "{$this->database->name}_restore";
		$old   = "{$this->database->name}_before";
		foreach ( [ $fresh, $old ] as $schema ) {
			$this->database->execute( 'DROP DATABASE IF EXISTS ' . Database::quote_name( $schema ) );
			$this->database->execute(
				'CREATE DATABASE ' . Database::quote_name( $schema )
				. ' CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci'
			);
		}
		$this->read_dump( $source, $fresh );
		$this->swap_tables( $fresh, $old );
		foreach ( [ $fresh, $old ] as $schema ) {
			$this->database->execute( 'DROP DATABASE ' . Database::quote_name( $schema ) );
		}
		return [ 'bytes' => (int) filesize( $source ) ];
	}

	private function swap_tables( string $fresh, string $old ): void {
		$moves = [];
		foreach ( [ [ $this->database->name, $old ], [ $fresh, $this->database->name ] ] as [ $from, $to ] ) {
			foreach ( $this->database->list_tables( $from ) as $table ) {
				$name    = Database::quote_name( $table );
				$moves[] = Database::quote_name( $from ) . ".{$name} TO " . Database::quote_name( $to ) . ".{$name}";
			}
		}
		$this->database->execute( 'SET FOREIGN_KEY_CHECKS = 0' );
		$this->database->execute( 'RENAME TABLE ' . implode( ', ', $moves ) );
	}

	private function write_dump( string $path ): void {
		$options = [
			'--single-transaction',
			'--quick',
			'--no-tablespaces',
			'--skip-lock-tables',
			'--default-character-set=utf8mb4',
			'--hex-blob',
			$this->database->name,
		];
		$streams = [ [ 'file', '/dev/null', 'r' ], [ 'pipe', 'w' ] ];
		$process = $this->start_client( 'mariadb-dump', $options, $streams, $pipes );
		$file    = fopen( $path, 'wb' );
		$packer  = deflate_init( ZLIB_ENCODING_GZIP, [ 'level' => 4 ] );
		$last    = '';
		while ( ! feof( $pipes[1] ) ) {
			$chunk = (string) fread( $pipes[1], self::CHUNK_BYTES );
			$last = substr( $last . $chunk, -200 );
			self::write_all( $file, deflate_add( $packer, $chunk, ZLIB_NO_FLUSH ) );
		}
		self::write_all( $file, deflate_add( $packer, '', ZLIB_FINISH ) );
		$is_flushed   = fflush( $file ) && fsync( $file ) && fclose( $file );
		$status = proc_close( $process );
		if ( 0 !== $status || ! $is_flushed || ! str_contains( $last, self::END_MARK ) ) {
			throw new \RuntimeException(
				"mariadb-dump exited with status {$status} before the dump was complete."
			);
		}
	}

	private function read_dump( string $path, string $schema ): void {
		$options = [ '--default-character-set=utf8mb4', '--binary-mode', $schema ];
		$process = $this->start_client( 'mariadb', $options, [ [ 'pipe', 'r' ], STDERR ], $pipes );
		$file    = gzopen( $path, 'rb' );
		$last    = '';
		while ( ! gzeof( $file ) ) {
			$chunk = (string) gzread( $file, self::CHUNK_BYTES );
			$last = substr( $last . $chunk, -200 );
			self::write_all( $pipes[0], $chunk );
		}
		fclose( $pipes[0] );
		$status = proc_close( $process );
		if ( 0 !== $status || ! str_contains( $last, self::END_MARK ) ) {
			throw new \RuntimeException(
				"The dump cannot be restored: mariadb exited with status {$status}."
			);
		}
	}

	/**
	 * Start one of MariaDB's client programs. Address and password are in a private options file, so
	 * that no process list shows the password.
	 *
	 * @param list<string>        $arguments
	 * @param array<int, mixed>   $streams
	 * @param array<int, mixed>|null $pipes
	 * @return resource
	 */
	private function start_client(
		string $program,
		array $arguments,
		array $streams,
		?array &$pipes,
	) {
		umask( 0077 );
		$password = $this->store->read_secret( 'database.password_file' );
		$password = str_replace( [ '\\', '"' ], [ '\\\\', '\\"' ], $password );
		$host     = explode( ':', $this->store->get_text( 'database.host' ), 2 );
		$user     = $this->store->get_text( 'database.user' );
		$options  = "[client]\nuser = \"{$user}\"\npassword = \"{$password}\"\nskip-ssl\n";
		$options .= isset( $host[1] )
			? "socket = \"{$host[1]}\"\n"
			: "host = \"{$host[0]}\"\nprotocol = tcp\n";
		file_put_contents( self::OPTIONS_FILE, $options );
		$command = [ $program, '--defaults-file=' . self::OPTIONS_FILE, ...$arguments ];
		$process = proc_open( $command, [ ...$streams, 2 => STDERR ], $pipes );
		return is_resource( $process )
			? $process
			: throw new \RuntimeException( "{$program} cannot be started." );
	}

	private function delete_old_dumps( string $newest ): void {
		$files = glob( self::FOLDER . '/*.sql.gz' ) ?: [];
		usort( $files, static fn ( string $a, string $b ): int => filemtime( $b ) <=> filemtime( $a ) );
		foreach ( array_slice( array_diff( $files, [ $newest ] ), self::KEPT_DUMPS - 1 ) as $old ) {
			unlink( $old );
		}
	}

	/** @param resource $file */
	private static function write_all( $file, string $content ): void {
		for ( $done = 0, $all = strlen( $content ); $done < $all; $done += $written ) {
			$written = fwrite( $file, substr( $content, $done ) );
			if ( ! $written ) {
				throw new \RuntimeException( 'The dump cannot be written. Check whether the volume is full.' );
			}
		}
	}

	private static function get_path( string $name ): string {
		return self::FOLDER . "/{$name}.sql.gz";
	}
}
