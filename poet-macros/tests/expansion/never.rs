#[poet]
async fn serve() -> ! {
    the_body().await
}
