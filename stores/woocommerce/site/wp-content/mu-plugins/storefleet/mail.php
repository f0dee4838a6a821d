<?php
/** Mail goes through the server that is configured, quickly or not at all; without one it goes nowhere. */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class Mail {
	/** Orders are confirmed within the request that makes them: a customer does not wait longer than this. */
	private const SECONDS = 5;

	public static function arrange( Configuration $store ): void {
		$host = $store->optional( 'mail.host', '' );
		if ( '' === $host ) {
			add_filter( 'pre_wp_mail', [ self::class, 'discard' ], 1, 2 );
			return;
		}
		add_filter( 'wp_mail_from', static fn ( string $from ): string => $store->optional( 'mail.from', $from ) );
		add_action(
			'phpmailer_init',
			static function ( $mailer ) use ( $store, $host ): void {
				$mailer->isSMTP();
				$mailer->Host        = $host;
				$mailer->Port        = (int) $store->optional( 'mail.port', '25' );
				$mailer->SMTPAuth    = false;
				$mailer->Timeout     = self::SECONDS;
				$mailer->Timelimit   = self::SECONDS;
				$mailer->SMTPAutoTLS = true;
			}
		);
	}

	/**
	 * @param mixed                $_sent
	 * @param array<string, mixed> $message
	 */
	public static function discard( $_sent, array $message ): bool {
		unset( $_sent );
		error_log( 'mail not sent, since no server for it is configured: ' . substr( (string) ( $message['subject'] ?? '' ), 0, 120 ) );
		return true;
	}
}
