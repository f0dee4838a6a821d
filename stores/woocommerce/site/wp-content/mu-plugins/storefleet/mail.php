<?php
/** Send mail through the configured server, with a short timeout; without a server, discard it. */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class Mail {
	/** Orders are confirmed within the customer's own request, so this limits the wait. */
	private const TIMEOUT_S = 5;

	public static function configure( Configuration $store ): void {
		$host = $store->get_optional( 'mail.host', '' );
		if ( '' === $host ) {
			add_filter( 'pre_wp_mail', [ self::class, 'discard' ], 1, 2 );
			return;
		}
		add_filter(
			'wp_mail_from', static fn ( string $from ): string => $store->get_optional( 'mail.from', $from )
		);
		add_action(
			'phpmailer_init',
			static function ( $mailer ) use ( $store, $host ): void {
				$mailer->isSMTP();
				$mailer->Host        = $host;
				$mailer->Port        = (int) $store->get_optional( 'mail.port', '25' );
				$mailer->SMTPAuth    = false;
				$mailer->Timeout     = self::TIMEOUT_S;
				$mailer->Timelimit   = self::TIMEOUT_S;
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
		$subject = substr( (string) ( $message['subject'] ?? '' ), 0, 120 );
		error_log( "mail not sent because no mail server is configured: {$subject}" );
		return true;
	}
}
