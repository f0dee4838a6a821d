<?php
/** How a program ends: 0 only when it came to its end, 2 when another try would end the same, else 1. */

declare(strict_types=1);

namespace Storefleet;

final class Ending {
	private bool $done = false;

	private function __construct( private readonly string $command, private readonly float $began ) {}

	/** WordPress ends a process on its own where it is at a loss, with a status of 0. */
	public static function watch( string $command ): self {
		$ending = new self( $command, microtime( true ) );
		register_shutdown_function( [ $ending, 'at_the_end' ] );
		set_exception_handler( [ $ending, 'fail' ] );
		return $ending;
	}

	public function well(): void {
		$this->done = true;
	}

	public function fail( \Throwable $error ): never {
		$this->done = true;
		$where      = $error instanceof Mistake || $error instanceof Away ? '' : " ({$error->getFile()}:{$error->getLine()})";
		say( $this->command, "failed: {$error->getMessage()}{$where}" );
		exit( $error instanceof Mistake ? 2 : 1 );
	}

	public function at_the_end(): void {
		if ( ! $this->done ) {
			$this->done = true;
			say( $this->command, 'ended before its work was done' );
			exit( 1 );
		}
	}

	public function seconds(): float {
		return microtime( true ) - $this->began;
	}
}

/** One line for the log. */
function say( string $command, string $words ): void {
	fwrite( STDERR, gmdate( 'Y-m-d\TH:i:s\Z' ) . " {$command}: " . trim( (string) preg_replace( '/\s+/', ' ', $words ) ) . "\n" );
}

/** Run a program to its end, without a shell; throws \RuntimeException. @param list<string> $command */
function run( array $command ): void {
	$process = proc_open( $command, [ 0 => [ 'file', '/dev/null', 'r' ], 1 => STDOUT, 2 => STDERR ], $pipes );
	$status  = is_resource( $process ) ? proc_close( $process ) : 127;
	if ( 0 !== $status ) {
		throw 2 === $status ? new Mistake( basename( $command[0] ) . ' says that another try cannot help' ) : new \RuntimeException( "{$command[0]} ended with the status {$status}" );
	}
}
