<?php
/**
 * The exit status of a command: 0 only if it finished, 2 if a retry would fail in the same way,
 * else 1. Broken code fails in the same way each time, unless the database disappeared meanwhile.
 */

declare(strict_types=1);

namespace Storefleet;

/** The code of this release does not do what it must. */
final class ReleaseError extends \Error {}

final class Termination {
	/** Errors of the code itself: it cannot be compiled or run. */
	private const FATAL_ERRORS = E_ERROR | E_PARSE | E_CORE_ERROR | E_COMPILE_ERROR | E_RECOVERABLE_ERROR;

	private bool $is_reported = false;
	/** @var (callable(): bool)|null */
	private $is_undisturbed = null;

	private function __construct( private readonly string $command, private readonly float $began ) {}

	/** Watch the process from now on: WordPress may end it early, with status 0. */
	public static function watch( string $command ): self {
		$termination = new self( $command, microtime( true ) );
		register_shutdown_function( [ $termination, 'handle_shutdown' ] );
		set_exception_handler( [ $termination, 'fail' ] );
		return $termination;
	}

	/** Record that the command finished. */
	public function succeed(): void {
		$this->is_reported = true;
	}

	/**
	 * Treat an error of the code as permanent, if the check still holds when it occurs.
	 *
	 * @param callable(): bool $is_undisturbed
	 */
	public function retry_unless( callable $is_undisturbed ): void {
		$this->is_undisturbed = $is_undisturbed;
	}

	/** Log the error and exit. */
	public function fail( \Throwable $error ): never {
		$this->is_reported = true;
		$is_known          = $error instanceof PermanentError || $error instanceof DatabaseUnavailable
			|| $error instanceof ReleaseError;
		$where             = $is_known ? '' : " ({$error->getFile()}:{$error->getLine()})";
		log_line( $this->command, "failed: {$error->getMessage()}{$where}" );
		$is_permanent = $error instanceof PermanentError
			|| ( $error instanceof \Error && $this->is_code_to_blame() );
		exit( $is_permanent ? 2 : 1 );
	}

	public function handle_shutdown(): void {
		if ( $this->is_reported ) {
			return;
		}
		$this->is_reported = true;
		$error             = error_get_last();
		if ( null !== $error && ( $error['type'] & self::FATAL_ERRORS ) > 0 ) {
			log_line(
				$this->command, "failed: {$error['message']} ({$error['file']}:{$error['line']})"
			);
			exit( $this->is_code_to_blame() ? 2 : 1 );
		}
		log_line( $this->command, 'exited before it finished' );
		exit( 1 );
	}

	private function is_code_to_blame(): bool {
		return null !== $this->is_undisturbed && ( $this->is_undisturbed )();
	}

	public function get_seconds(): float {
		return microtime( true ) - $this->began;
	}
}

/** Write one line to the log. */
function log_line( string $command, string $text ): void {
	$line = trim( (string) preg_replace( '/\s+/', ' ', $text ) );
	fwrite( STDERR, gmdate( 'Y-m-d\TH:i:s\Z' ) . " {$command}: {$line}\n" );
}

/**
 * Run a program to its end, without a shell; throws \RuntimeException.
 *
 * @param list<string> $command
 */
function run_program( array $command ): void {
	$process = proc_open( $command, [ 0 => [ 'file', '/dev/null', 'r' ], 1 => STDOUT, 2 => STDERR ], $pipes );
	$status  = is_resource( $process ) ? proc_close( $process ) : 127;
	if ( 0 !== $status ) {
		if ( 2 === $status ) {
			throw new PermanentError(
				basename( $command[0] ) . ' failed, and a retry would fail in the same way.'
			);
		}
		throw new \RuntimeException( "{$command[0]} exited with status {$status}." );
	}
}
