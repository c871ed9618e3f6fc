//! HTTP/2 on both sides: bodies of every size, trailers, gRPC.

use bytes::Bytes;
use sealtap_tests::bench_http2::{Bench, grpc, record, trailers};
use sealtap_tests::cases;
use sealtap_tests::client_http2::answer;
use sealtap_tests::content::{Content, Pattern};
use sealtap_tests::http2::{fields, run, send};
use sealtap_tests::records::as_they_came;

cases! {
    fn bodies_of_many_sizes(path) {
        let bench = Bench::new(path, |mut exchange| async move {
            let body = exchange.read().await;
            let length = body.content.length();
            let mut stream = exchange.answer(200, &[("x-length", &length.to_string())], false);
            let bytes = Pattern::bytes(length + 1, length);
            send(&mut stream, bytes, true).await.expect("the answer is taken");
        });
        let sizes = [0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 1 << 20];
        run(async {
            let mut client = bench.client().await;
            for size in sizes {
                let request = client.head("POST", &bench.target(&format!("/{size}")), &[]);
                let answer = client.call(request, &Pattern::bytes(size, size), None).await;
                assert_eq!(answer.status(), 200);
                assert_eq!(*answer.content(), Content::of_pattern(size + 1, size));
                assert_eq!(answer.body.reset, None);
            }
            client.close().await;
        });
        let (records, requests) = bench.finish();
        let records = as_they_came(records);
        assert_eq!(requests.len(), sizes.len());
        for ((_, body), size) in requests.iter().zip(sizes) {
            assert_eq!(body.content, Content::of_pattern(size, size));
        }
        for (found, size) in records.iter().zip(sizes) {
            let (request, response) = (Content::of_pattern(size, size), Content::of_pattern(size + 1, size));
            record(found, ["complete"; 3], &request, &response);
        }
    }

    fn sixty_four_mebibytes(path) {
        const SIZE: u64 = 64 << 20;
        let bench = Bench::new(path, |mut exchange| async move {
            exchange.read().await;
            let mut stream = exchange.answer(200, &[], false);
            for piece in Pattern::new(8, SIZE) {
                send(&mut stream, piece, false).await.expect("the answer is taken");
            }
            send(&mut stream, Bytes::new(), true).await.expect("the end is taken");
        });
        run(async {
            let mut client = bench.client().await;
            let request = client.head("PUT", &bench.target("/big"), &[]);
            let (response, mut stream) = client.start(request, false).await;
            for piece in Pattern::new(7, SIZE) {
                send(&mut stream, piece, false).await.expect("the body is taken");
            }
            send(&mut stream, Bytes::new(), true).await.expect("the end is taken");
            let answer = answer(response).await;
            assert_eq!(*answer.content(), Content::of_pattern(8, SIZE));
            drop(stream);
            client.close().await;
        });
        let (records, requests) = bench.finish();
        assert_eq!(requests[0].1.content, Content::of_pattern(7, SIZE));
        for found in &records {
            let (request, response) = (Content::of_pattern(7, SIZE), Content::of_pattern(8, SIZE));
            record(found, ["complete"; 3], &request, &response);
        }
    }

    fn grpc_with_status_in_trailers(path) {
        let bench = Bench::new(path, |mut exchange| async move {
            let body = exchange.read().await;
            assert_eq!(exchange.head.headers["te"], "trailers");
            assert_eq!(body.trailers, None);
            let mut stream = exchange.answer(200, &[("content-type", "application/grpc")], false);
            for _ in 0..3 {
                send(&mut stream, grpc(b"answer"), false).await.expect("taken");
            }
            let status = trailers(&[("grpc-status", "0"), ("grpc-message", "ok%20then"), ("x-bin", "AA"), ("x-bin", "BB")]);
            stream.send_trailers(status).expect("taken");
        });
        let sent = grpc(b"question");
        run(async {
            let mut client = bench.client().await;
            let sent_fields = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "1S")];
            let request = client.head("POST", &bench.target("/pkg.Service/Method"), &sent_fields);
            let answer = client.call(request, &sent, None).await;
            assert_eq!(*answer.content(), Content::of(grpc(b"answer").repeat(3)));
            let got = answer.body.trailers.expect("trailers");
            let expected = [("grpc-status", "0"), ("grpc-message", "ok%20then"), ("x-bin", "AA"), ("x-bin", "BB")];
            let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(fields(&got), expected);
            client.close().await;
        });
        let (records, _) = bench.finish();
        for found in &records {
            let response = Content::of(grpc(b"answer").repeat(3));
            record(found, ["complete", "complete", "trailers"], &Content::of(&sent), &response);
        }
    }

    fn trailers_after_a_request(path) {
        let bench = Bench::new(path, |mut exchange| async move {
            let body = exchange.read().await;
            let sum = body.trailers.expect("trailers")["x-sum"].clone();
            exchange.answer(200, &[("x-got", sum.to_str().expect("ASCII"))], true);
        });
        run(async {
            let mut client = bench.client().await;
            let request = client.head("POST", &bench.target("/sum"), &[("trailer", "x-sum")]);
            let answer = client.call(request, b"data", Some(trailers(&[("x-sum", "42")]))).await;
            assert_eq!(answer.head.headers["x-got"], "42");
            client.close().await;
        });
        for found in &bench.finish().0 {
            let ends = ["complete", "trailers", "complete"];
            record(found, ends, &Content::of("data"), &Content::default());
        }
    }
}
