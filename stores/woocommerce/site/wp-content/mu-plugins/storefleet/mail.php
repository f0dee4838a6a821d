<?php
/** Keep mail in the outbox instead of sending it, and tell the admin so. */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class Mail {
	/** Screens on which the admin expects that mail leaves. */
	private const SCREENS = [
		...[ 'dashboard', 'users', 'user', 'edit-shop_order', 'shop_order' ],
		...[ 'woocommerce_page_wc-orders', 'woocommerce_page_wc-settings', 'tools_page_export_personal_data' ],
	];

	public static function register_hooks(): void {
		add_filter( 'wp_mail', [ self::class, 'use_outbox' ], PHP_INT_MAX );
		add_action( 'admin_notices', [ self::class, 'print_notice' ] );
		add_filter( 'site_status_tests', [ self::class, 'remove_mail_test' ] );
	}

	/** wp_mail() sends with the object in the global variable, if it is a PHPMailer. */
	public static function use_outbox( mixed $message ): mixed {
		global $phpmailer;
		if ( ! $phpmailer instanceof OutboxMailer ) {
			$folder = ABSPATH . WPINC;
			require_once "{$folder}/PHPMailer/PHPMailer.php";
			require_once "{$folder}/PHPMailer/SMTP.php";
			require_once "{$folder}/PHPMailer/Exception.php";
			require_once "{$folder}/class-wp-phpmailer.php";
			require_once __DIR__ . '/outbox-mailer.php';
			$phpmailer = new OutboxMailer( true );

			$phpmailer::$validator = static fn ( $address ): bool => (bool) is_email( $address );
		}
		return $message;
	}

	public static function print_notice(): void {
		if ( ! in_array( get_current_screen()?->id, self::SCREENS, true ) ) {
			return;
		}
		echo '<div class="notice notice-info"><p>',
			esc_html( 'This store does not send e-mail yet. What it would send is kept: its outbox is on the platform’s dashboard, on the page of this store.' ),
			'</p></div>';
	}

	/**
	 * @param array<string, mixed> $tests
	 * @return array<string, mixed>
	 */
	public static function remove_mail_test( array $tests ): array {
		unset( $tests['direct']['php_mail'] );
		return $tests;
	}
}
